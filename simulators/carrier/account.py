"""Holds the account's applications and numbers, and which application answers which number.  Pure."""

import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulators.carrier.call_request import BadParameter, read_target
from simulators.carrier.people import digits_of
from simulators.carrier.plan import CallPlan
from simulators.carrier.refusals import Refusal

APP_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
APPLICATIONS_MAX = 1000
TARGETS = {"answer": "answer_url", "hangup": "hangup_url", "fallback_answer": "fallback_answer_url"}


@dataclass(slots=True)
class Account:
    """Applications by id, and numbers (E.164 with `+`) with the id of their application or ""."""

    auth_id: str
    applications: dict[str, dict[str, Any]] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    cooling: set[str] = field(default_factory=set)
    """Numbers that may not be assigned again for 15 days."""

    def create(self, body: Mapping[str, Any]) -> str:
        """Create an application and return its id.  Raises `Refusal`."""
        if len(self.applications) >= APPLICATIONS_MAX:
            raise Refusal(403, "too many applications")
        name = self._free_name(body, "")
        if not body.get("answer_url"):
            raise Refusal(400, "answer_url is required")
        app_id = str(uuid.uuid4().int % 10**17)
        self.applications[app_id] = {"app_id": app_id, **_settings(body), "app_name": name}
        return app_id

    def change(self, app_id: str, body: Mapping[str, Any]) -> None:
        """Set the settings that `body` names, including the name.  Raises `Refusal`."""
        application = self.application(app_id)
        named = "app_name" in body or "name" in body
        name = self._free_name(body, app_id) if named else application["app_name"]
        application.update({**_settings(body), "app_name": name})

    def _free_name(self, body: Mapping[str, Any], app_id: str) -> str:
        name = str(body.get("app_name") or body.get("name") or "")  # the carrier's own SDK says `name`
        if not APP_NAME.fullmatch(name):
            raise Refusal(400, "app_name is required: letters, digits, _ and -")
        others = (other for other in self.applications.values() if other["app_id"] != app_id)
        if any(other["app_name"] == name for other in others):
            raise Refusal(409, "app_name already exists")
        return name

    def delete(self, app_id: str) -> None:
        """Delete an application.  Raises `Refusal` 409 while numbers are attached."""
        self.application(app_id)
        if app_id in self.numbers.values():
            raise Refusal(409, "application has numbers attached")
        del self.applications[app_id]

    def application(self, app_id: str) -> dict[str, Any]:
        if app_id not in self.applications:
            raise Refusal(404, "application not found")
        return self.applications[app_id]

    def attach(self, number: str, app_id: str) -> None:
        self.number(number)
        self.application(app_id)
        if number in self.cooling:
            raise Refusal(409, "did_cool_off_in_effect")
        self.numbers[number] = app_id

    def detach(self, number: str) -> None:
        self.number(number)
        self.numbers[number] = ""

    def number(self, number: str) -> str:
        """Return the id of the number's application, "" if there is none.  Raises `Refusal` 404."""
        if number not in self.numbers:
            raise Refusal(404, "number not found")
        return self.numbers[number]

    def buy(self, number: str) -> None:
        if not re.fullmatch(r"\+\d{8,15}", number):
            raise Refusal(400, "e164 is required")
        if number in self.numbers:
            raise Refusal(409, "number is already owned")
        self.numbers[number] = ""

    def release(self, number: str) -> None:
        """Release the number.  Raises `Refusal` 404."""
        self.number(number)
        del self.numbers[number]

    def plan_for(self, number: str) -> CallPlan | None:
        """Return the plan of an inbound call to this number; None if no application is attached."""
        mine = {digits_of(owned): app_id for owned, app_id in self.numbers.items()}
        application = self.applications.get(mine.get(digits_of(number), ""))
        if application is None:
            return None
        return CallPlan(
            answer=read_target(application, "answer"),
            hangup=read_target(application, "hangup"),
            fallback=_fallback(application),
        )


def _settings(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a request that an application keeps.  Raises `Refusal` 400."""
    names = ("answer", "hangup", "fallback", "message")
    keys: Iterable[str] = [f"{name}_{part}" for name in names for part in ("url", "method")] + ["fallback_answer_url"]
    try:
        for name in ("answer", "hangup", "message", "fallback_answer"):
            read_target(body, name)
    except BadParameter as error:
        raise Refusal(400, str(error)) from error
    return {key: body[key] for key in keys if key in body}


def _fallback(application: Mapping[str, Any]) -> Any:
    url = application.get("fallback_answer_url", "")
    return read_target({"fallback_url": url, "fallback_method": application.get("fallback_method", "")}, "fallback")
