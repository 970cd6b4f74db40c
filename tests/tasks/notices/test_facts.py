"""What is told belongs to its evaluation, and the day before is the one that was told before."""

from tasks.notices.facts import Told, learned_facts, read_told, renewed, served_facts, write_told


def learned(run):
    """Return what the newest evaluation found."""
    return learned_facts(run.products, str(run.ledger))


def test_decisions_are_those_of_this_evaluation(run):
    """The ledger of a shared store holds other days and other models."""
    run.evaluate(1)
    run.evaluate(2, decision="refused", reasons=["too few clicks"])
    found = learned(run)
    assert [(one.decision, one.version) for one in found.decisions] == [("refused", None)]
    assert found.champion == "ftrl, version 1"


def test_a_decision_by_hand_is_no_new_day(run):
    """What was told of the same evaluation keeps its day before."""
    run.evaluate(1, loss=0.44)
    first = renewed(Told(), learned(run), None)
    run.evaluate(2, loss=0.43, decision="refused")
    second = renewed(first, learned(run), None)
    run.decide(2, "forced")
    third = renewed(second, learned(run), None)
    assert third.learned_before == first.learned
    assert [one.decision for one in third.learned.decisions] == ["forced"]


def test_learning_and_serving_have_days_of_their_own(run):
    """Monitoring each hour does not move the day before of the models."""
    run.evaluate(1)
    run.monitor(1)
    first = renewed(Told(), learned(run), served_facts(run.products))
    run.monitor(2, ratio=1.1)
    second = renewed(first, learned(run), served_facts(run.products))
    assert second.learned_before is None
    assert second.served_before == first.served


def test_a_record_of_another_version_is_none(run):
    """It is what was told, not what is true: the next notice starts anew."""
    run.evaluate(1)
    told = renewed(Told(), learned(run), None)
    write_told(run.products, told)
    assert read_told(run.products) == told
    (run.products / "notices" / "told.json").write_text('{"learned": 3}')
    assert read_told(run.products) == Told()
