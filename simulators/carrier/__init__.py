"""Simulates the carrier Vobiz: REST API, outbound and inbound calls, XML, webhooks, media streams, and faults."""

from simulators.carrier.carrier import Carrier
from simulators.carrier.hooks import HookHabits
from simulators.carrier.people import Callee
from simulators.carrier.plan import CallPlan, CarrierOptions, Target
from simulators.carrier.record import CallRecord

__all__ = ["CallPlan", "CallRecord", "Callee", "Carrier", "CarrierOptions", "HookHabits", "Target"]
