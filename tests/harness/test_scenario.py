"""The catalogue of scenarios."""

from lastseat.harness.scenario import CLIENTS, SCENARIOS


def test_there_are_twenty_and_more_each_with_a_name_and_a_reason_of_its_own() -> None:
    assert len(SCENARIOS) >= 20
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    assert len({scenario.why for scenario in SCENARIOS}) == len(SCENARIOS)


def test_who_asks_is_a_client_and_what_is_asked_for_exists() -> None:
    for scenario in SCENARIOS:
        asked = [request for wanted in scenario.attempts.values() for request in wanted]
        assert scenario.attempts.keys() <= set(CLIENTS), scenario.name
        assert {r.resource_id for r in (*asked, *scenario.prior)} <= scenario.capacities.keys()
        assert all(request.requested_units > 0 for request in asked), scenario.name


def test_all_interleavings_are_run_of_three_clients_at_most() -> None:
    for scenario in SCENARIOS:
        assert scenario.small == (len(scenario.attempts) <= 3), scenario.name
        assert scenario.small or not scenario.quick, scenario.name
