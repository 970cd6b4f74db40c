"""Both calls against the OpenAPI document that the service itself hands out, by schemathesis."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.slow
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize("path", ["/predict", "/rank"])
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name)
def test_no_request_that_the_document_allows_or_forbids_breaks_the_service(endpoint, path, mode):
    """Answers are those that the document names, in the form that it gives; never a 5xx."""
    document = schemathesis.openapi.from_url(f"{endpoint}/docs.json")
    operation = document[path]["POST"]
    n_sent = 0

    @settings(
        max_examples=250,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case):
        nonlocal n_sent
        case.call_and_validate(checks=CHECKS)
        n_sent += 1

    send()
    assert n_sent >= 100
