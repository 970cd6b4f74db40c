"""Rights in moto 5.2: checked for whoever acts under a role, the way a least-privilege policy needs it.

Not rehearsed, and so told in the table: conditions, and the resource of services other than S3, which moto
does not know. A statement of Allow with a condition is judged by action and resource; one of Deny is passed over.
"""

from typing import Any

from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.iam.access_control import IAMPolicyStatement, PermissionResult


def mend() -> None:
    """Check every request signed with a role's credentials; the operator's own are not checked."""
    _check_roles_only()
    _match_unknown_resources()
    _pass_over_conditions()


def _check_roles_only() -> None:
    check = ActionAuthenticatorMixin._authenticate_and_authorize_action

    def authorize(self: Any, request: type, resource: str = "*") -> None:
        if not self.headers.get("X-Amz-Security-Token"):
            return
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
        check(self, request, resource)

    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    ActionAuthenticatorMixin._authenticate_and_authorize_action = authorize


def _match_unknown_resources() -> None:
    matches = IAMPolicyStatement._check_element_matches

    def check(self: Any, element: str, value: str) -> bool:
        return (
            True if element == "Resource" and value == "*" else bool(matches(self, element, value))
        )

    IAMPolicyStatement._check_element_matches = check


def _pass_over_conditions() -> None:
    permitted = IAMPolicyStatement.is_action_permitted

    def judge(
        self: Any, action: str, resource: str = "*", principal: Any = None, values: Any = None
    ) -> Any:
        statement = self._statement
        if "Condition" in statement and values is None:
            if statement["Effect"] == "Deny":
                return PermissionResult.NEUTRAL
            kept = {key: value for key, value in statement.items() if key != "Condition"}
            self = IAMPolicyStatement(kept)
        return permitted(self, action, resource, principal, values)

    IAMPolicyStatement.is_action_permitted = judge
