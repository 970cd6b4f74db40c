"""Canary, release, abort: traffic moves only to what answers, and back when an alarm rings."""

import json

import pytest

from infra.release import __main__ as release
from infra.release.blue_green import look
from tests.infra.cloud import account, aws, write_outputs
from tests.infra.colour_stage import REPOSITORY, stage

pytestmark = pytest.mark.slow
BLUE, GREEN = (100, 0), (0, 100)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A stage of its own for each test."""
    with account(), stage() as made:
        monkeypatch.setenv("CLICKLAB_OUTPUTS", str(tmp_path / "outputs.json"))
        made.write = lambda: write_outputs(tmp_path / "outputs.json", made.values)
        made.write()
        yield made


@pytest.fixture
def second(scene):
    """The revision that Terraform made after the one that serves."""
    scene.values["service_task_definition"] = arn = scene.revision("two")
    scene.write()
    return arn


def _do(verb, *words, watch="0", wait="0.001"):
    """Run a verb that looks often and waits little."""
    timing = ["--wait", wait, "--poll", "0.01"]
    timing += ["--watch", watch] if verb != "abort" else []
    return release.main([verb, *words, *timing])


def _colours(scene):
    found = look(scene.values)
    return found["blue"], found["green"]


def test_a_canary_gets_its_share_and_no_more(scene, second, capsys):
    """The new revision starts in the idle colour, answers, and then gets requests."""
    assert _do("canary", "--share", "10") == 0
    assert scene.weights() == (90, 10)
    blue, green = _colours(scene)
    assert (green.revision, green.healthy, blue.revision) == (second, 2, scene.first)
    assert "green now has 10 of 100, blue 90" in capsys.readouterr().out


def test_a_canary_again_does_nothing_again(scene, second, capsys):
    """Same revision, same share: no service is touched."""
    _do("canary", "--share", "10")
    scene.calls.clear()
    assert _do("canary", "--share", "10") == 0
    assert scene.calls == []
    assert "green has 10 of 100 already" in capsys.readouterr().out


def test_a_canarys_share_can_be_raised(scene, second):
    """Without starting anything anew."""
    _do("canary", "--share", "5")
    scene.calls.clear()
    assert _do("canary", "--share", "25") == 0
    assert (scene.weights(), scene.calls) == ((75, 25), [])


def test_an_alarm_takes_the_canary_back(scene, second, capsys, monkeypatch):
    """All traffic to what served before, the canary stopped, code 6, one line."""
    from infra.release.rollout import Rollout

    shift = Rollout._shift

    def then_ring(self, live, idle, share):
        shift(self, live, idle, share)
        if share:
            scene.ring("clicklab-small-green-5xx")

    monkeypatch.setattr(Rollout, "_shift", then_ring)
    assert _do("canary", watch="1") == 6
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "alarm clicklab-small-green-5xx rings: green was taken back" in error


def test_the_other_colours_alarm_takes_nothing_back(scene, second):
    """An old revision that misbehaves is no reason against the new one."""
    scene.ring("clicklab-small-blue-5xx")
    assert _do("canary") == 0
    assert scene.weights() == (90, 10)


def test_a_ringing_alarm_stops_the_canary_before_it_begins(scene, second, capsys):
    """An alarm of the last attempt would take the next one back at once."""
    scene.ring("clicklab-small-green-p99")
    assert _do("canary") == 6
    assert (scene.weights(), scene.calls) == (BLUE, [])
    assert "before green got any traffic" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["canary", "release"])
def test_a_broken_image_never_gets_traffic(scene, second, capsys, verb):
    """The old service keeps answering; the broken one is stopped."""
    scene.broken.add(second)
    assert _do(verb) == 6
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))
    error = capsys.readouterr().err
    assert "clicklab-small-service:2 does not get ready (0 of 2 tasks answer" in error
    assert "blue serves as before" in error


def test_a_deployment_that_ecs_gives_up_is_not_waited_for(scene, second, capsys, monkeypatch):
    """Its reason is told."""
    from infra.release import rollout

    seen = look(scene.values)["green"]

    def given_up(values):
        found = look(values)
        reason = {second: "tasks failed to start"}
        return found | {
            "green": type(seen)(**{**vars(found["green"]), "healthy": 0, "given_up": reason})
        }

    monkeypatch.setattr(rollout, "look", given_up)
    assert _do("canary", wait="10") == 6
    assert "does not get ready (tasks failed to start)" in capsys.readouterr().err
    assert scene.weights() == BLUE


def test_a_canary_whose_tasks_die_is_taken_back(scene, second, capsys, monkeypatch):
    """Without an alarm too."""
    from infra.release.rollout import Rollout

    shift = Rollout._shift

    def then_die(self, live, idle, share):
        shift(self, live, idle, share)
        if share:
            group = scene.groups["green"]
            found = aws("elbv2").describe_target_health(TargetGroupArn=group)
            targets = [one["Target"] for one in found["TargetHealthDescriptions"]]
            aws("elbv2").deregister_targets(TargetGroupArn=group, Targets=targets)

    monkeypatch.setattr(Rollout, "_shift", then_die)
    assert _do("canary", watch="1") == 6
    assert "no task of green answers" in capsys.readouterr().err
    assert scene.weights() == BLUE


def test_a_release_gives_the_canary_everything_and_stops_the_old_colour(scene, second):
    """With as many tasks as the old colour had."""
    aws("ecs").update_service(
        cluster="clicklab-small", service="clicklab-small-blue", desiredCount=4
    )
    _do("canary")
    assert scene.desired() == (4, 2)
    assert _do("release") == 0
    assert (scene.weights(), scene.desired()) == (GREEN, (0, 4))
    floors = aws("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")
    found = {one["ResourceId"]: one["MinCapacity"] for one in floors["ScalableTargets"]}
    assert found == {
        "service/clicklab-small/clicklab-small-blue": 0,
        "service/clicklab-small/clicklab-small-green": 2,
    }


def test_a_release_needs_no_canary_and_can_be_run_again(scene, second, capsys):
    """The second time it finds everything done."""
    assert _do("release") == 0
    scene.calls.clear()
    assert _do("release") == 0
    assert (scene.weights(), scene.calls) == (GREEN, [])
    assert "serves everything already" in capsys.readouterr().out


def test_the_next_release_goes_to_the_other_colour(scene, second):
    """Colours take turns."""
    _do("release")
    scene.values["service_task_definition"] = third = scene.revision("three")
    scene.write()
    assert _do("release") == 0
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))
    assert _colours(scene)[0].revision == third


def test_an_alarm_during_a_release_puts_the_old_colour_back(scene, second, monkeypatch):
    """It still runs: it is stopped only after the watch."""
    from infra.release.rollout import Rollout

    monkeypatch.setattr(Rollout, "_refuse_if_ringing", lambda *_: None)
    scene.ring("clicklab-small-green-p99")
    assert _do("release", watch="1") == 6
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))


def test_an_abort_takes_a_canary_back_and_can_be_run_again(scene, second, capsys):
    """The second time there is nothing to take back."""
    _do("canary")
    assert _do("abort") == 0
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))
    assert _do("abort") == 0
    assert "nothing to take back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "weights", "desired"), [("abort", BLUE, (2, 0)), ("release", GREEN, (0, 2))]
)
def test_a_release_that_broke_off_is_taken_back_or_finished(
    scene, second, monkeypatch, verb, weights, desired
):
    """All traffic was on the new colour, the old one not yet stopped."""
    from infra.release.rollout import Rollout

    with monkeypatch.context() as patch:
        patch.setattr(Rollout, "_watch", _interrupt)
        assert _do("release") == 130
    assert (scene.weights(), scene.desired()) == (GREEN, (2, 2))
    assert _do(verb) == 0
    assert (scene.weights(), scene.desired()) == (weights, desired)


def _interrupt(*_):
    raise KeyboardInterrupt


def test_nothing_is_given_back_to_a_colour_that_does_not_answer(scene, second, capsys):
    """An abort is no way to an outage."""
    _do("canary")
    group = scene.groups["blue"]
    found = aws("elbv2").describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    aws("elbv2").deregister_targets(TargetGroupArn=group, Targets=[one["Target"] for one in found])
    assert _do("abort") == 2
    assert scene.weights() == (90, 10)
    assert "does not answer" in capsys.readouterr().err


def test_a_new_revision_replaces_the_canary_that_is_out(scene, second, capsys):
    """The old canary loses its traffic before its tasks are replaced."""
    _do("canary")
    scene.values["service_task_definition"] = third = scene.revision("three")
    scene.write()
    assert _do("canary", "--share", "20") == 0
    assert "is taken back first" in capsys.readouterr().out
    assert (scene.weights(), _colours(scene)[1].revision) == ((80, 20), third)


def test_an_image_is_released_by_its_commit_or_bento(scene, capsys):
    """A revision with it is made once; the tag of a Bento has its colon replaced."""
    ecr = aws("ecr")
    ecr.create_repository(repositoryName="clicklab-small/service")
    layer = {"schemaVersion": 2, "config": {"digest": "sha256:" + "0" * 64}}
    ecr.put_image(
        repositoryName="clicklab-small/service",
        imageManifest=json.dumps(layer),
        imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
        imageTag="ctr-qf3x",
    )
    assert _do("canary", "--image", "ctr:qf3x") == 0
    green = _colours(scene)[1]
    found = aws("ecs").describe_task_definition(taskDefinition=green.revision)["taskDefinition"]
    assert found["containerDefinitions"][0]["image"] == f"{REPOSITORY}:ctr-qf3x"
    assert (found["cpu"], found["networkMode"]) == ("512", "awsvpc")
    assert _do("release", "--image", "ctr:qf3x") == 0
    assert _colours(scene)[1].revision == green.revision, "found again, not made again"
    assert _do("canary", "--image", "gone") == 2
    assert "no image clicklab-small/service:gone was pushed" in capsys.readouterr().err


def test_a_release_of_another_image_than_the_canarys_is_refused(scene, second, capsys, monkeypatch):
    """What was not tried is not released in its place."""
    _do("canary")
    monkeypatch.setattr(release, "choose", lambda values, image: scene.first)
    assert _do("release", "--image", "one") == 2
    assert "is out as canary" in capsys.readouterr().err
    assert scene.weights() == (90, 10)


def test_status_says_what_serves(scene, capsys):
    """A line a colour."""
    assert release.main(["status"]) == 0
    out = capsys.readouterr().out
    assert "blue   100 of 100   2 of 2 tasks answer" in out
    assert f"{REPOSITORY}:one" in out


@pytest.mark.parametrize("share", ["0", "51", "-1", "ten"])
def test_a_share_that_is_none_is_refused(scene, share, capsys):
    """A canary with more than half would be what serves."""
    with pytest.raises(SystemExit):
        release.main(["canary", "--share", share])
    assert "a canary gets 1 to 50 of 100" in capsys.readouterr().err or share == "-1"


def test_a_deployment_without_serving_is_named(scene, capsys):
    """One line, nothing asked of a service that is not there."""
    scene.values["listener_arn"] = ""
    scene.write()
    assert _do("canary") == 3
    assert "has no listener_arn" in capsys.readouterr().err


def test_a_listener_that_has_no_weights_is_named(scene, second, capsys):
    """Somebody changed it by hand."""
    aws("elbv2").modify_listener(
        ListenerArn=scene.listener,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
    )
    assert _do("canary") == 2
    assert "does not forward by weights" in capsys.readouterr().err
