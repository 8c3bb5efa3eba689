"""A simulated Vobiz carrier: REST API, outbound and inbound calls, XML, webhooks, media streams, and their faults."""

from tests.simulators.carrier.carrier import Carrier
from tests.simulators.carrier.hooks import HookHabits
from tests.simulators.carrier.people import Callee
from tests.simulators.carrier.plan import CallPlan, CarrierOptions, Target
from tests.simulators.carrier.record import CallRecord

__all__ = ["CallPlan", "CallRecord", "Callee", "Carrier", "CarrierOptions", "HookHabits", "Target"]
