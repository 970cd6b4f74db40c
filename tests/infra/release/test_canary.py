"""Canary, release, abort: traffic moves only to healthy tasks, and back when an alarm fires."""

import json

import pytest

from infra.release import __main__ as release
from infra.release.traffic_weights import read_colors
from tests.infra.blue_green_stage import REPOSITORY, stage
from tests.infra.cloud import account, aws, write_outputs

pytestmark = pytest.mark.slow
BLUE, GREEN = (100, 0), (0, 100)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A new stage for each test."""
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
    """Run a verb with short polls and waits."""
    timing = ["--wait", wait, "--poll", "0.01"]
    timing += ["--watch", watch] if verb != "abort" else []
    return release.main([verb, *words, *timing])


def _colors(scene):
    found = read_colors(scene.values)
    return found["blue"], found["green"]


def test_a_canary_gets_its_share_and_no_more(scene, second, capsys):
    """The new revision starts in the idle color, becomes healthy, and then gets requests."""
    assert _do("canary", "--share", "10") == 0
    assert scene.weights() == (90, 10)
    blue, green = _colors(scene)
    assert (green.revision, green.healthy, blue.revision) == (second, 2, scene.first)
    assert "green now has 10% of the traffic, blue 90%" in capsys.readouterr().out


def test_a_canary_again_does_nothing_again(scene, second, capsys):
    """Same revision, same share: no service is touched."""
    _do("canary", "--share", "10")
    scene.calls.clear()
    assert _do("canary", "--share", "10") == 0
    assert scene.calls == []
    assert "green already has 10% of the traffic" in capsys.readouterr().out


def test_a_canarys_share_can_be_raised(scene, second):
    """Without restarting anything."""
    _do("canary", "--share", "5")
    scene.calls.clear()
    assert _do("canary", "--share", "25") == 0
    assert (scene.weights(), scene.calls) == ((75, 25), [])


def test_an_alarm_rolls_the_canary_back(scene, second, capsys, monkeypatch):
    """All traffic to the previous revision, the canary stopped, exit code 6, one line."""
    from infra.release.canary import Rollout

    shift = Rollout._shift

    def then_fire(self, live, idle, share):
        shift(self, live, idle, share)
        if share:
            scene.set_alarm("clicklab-small-green-5xx")

    monkeypatch.setattr(Rollout, "_shift", then_fire)
    assert _do("canary", watch="1") == 6
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "alarm clicklab-small-green-5xx fires: green was rolled back" in error


def test_the_other_colors_alarm_is_ignored(scene, second):
    """A failing old revision says nothing about the new one."""
    scene.set_alarm("clicklab-small-blue-5xx")
    assert _do("canary") == 0
    assert scene.weights() == (90, 10)


def test_an_active_alarm_stops_the_canary_before_it_begins(scene, second, capsys):
    """An alarm of the last attempt would roll the next one back at once."""
    scene.set_alarm("clicklab-small-green-p99")
    assert _do("canary") == 6
    assert (scene.weights(), scene.calls) == (BLUE, [])
    assert "before green got any traffic" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["canary", "release"])
def test_a_broken_image_never_gets_traffic(scene, second, capsys, verb):
    """The old revision keeps serving; the broken one is stopped."""
    scene.broken.add(second)
    assert _do(verb) == 6
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))
    error = capsys.readouterr().err
    assert "clicklab-small-service:2 does not become healthy (0 of 2 tasks are healthy" in error
    assert "blue serves as before" in error


def test_a_deployment_given_up_by_ecs_ends_the_wait(scene, second, capsys, monkeypatch):
    """Its reason is reported."""
    from infra.release import canary

    seen = read_colors(scene.values)["green"]

    def given_up(values):
        found = read_colors(values)
        reason = {second: "tasks failed to start"}
        return found | {
            "green": type(seen)(**{**vars(found["green"]), "healthy": 0, "given_up": reason})
        }

    monkeypatch.setattr(canary, "read_colors", given_up)
    assert _do("canary", wait="10") == 6
    assert "does not become healthy (tasks failed to start)" in capsys.readouterr().err
    assert scene.weights() == BLUE


def test_a_canary_whose_tasks_die_is_rolled_back(scene, second, capsys, monkeypatch):
    """Even without an alarm."""
    from infra.release.canary import Rollout

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
    assert "no task of green is healthy" in capsys.readouterr().err
    assert scene.weights() == BLUE


def test_a_release_gives_the_canary_all_traffic_and_stops_the_old_color(scene, second):
    """With as many tasks as the old color had; autoscaling's minimum moves along."""
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


def test_a_release_needs_no_canary_and_can_be_repeated(scene, second, capsys):
    """The second time there is nothing to do."""
    assert _do("release") == 0
    scene.calls.clear()
    assert _do("release") == 0
    assert (scene.weights(), scene.calls) == (GREEN, [])
    assert "already serves all traffic" in capsys.readouterr().out


def test_the_next_release_goes_to_the_other_color(scene, second):
    """The colors alternate."""
    _do("release")
    scene.values["service_task_definition"] = third = scene.revision("three")
    scene.write()
    assert _do("release") == 0
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))
    assert _colors(scene)[0].revision == third


def test_an_alarm_during_a_release_restores_the_old_color(scene, second, monkeypatch):
    """It still runs, as it is stopped only after the watch."""
    from infra.release.canary import Rollout

    monkeypatch.setattr(Rollout, "_refuse_during_alarm", lambda *_: None)
    scene.set_alarm("clicklab-small-green-p99")
    assert _do("release", watch="1") == 6
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))


def test_an_abort_rolls_a_canary_back_and_can_be_repeated(scene, second, capsys):
    """The second time there is nothing to roll back."""
    _do("canary")
    assert _do("abort") == 0
    assert (scene.weights(), scene.desired()) == (BLUE, (2, 0))
    assert _do("abort") == 0
    assert "nothing to roll back" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("verb", "weights", "desired"), [("abort", BLUE, (2, 0)), ("release", GREEN, (0, 2))]
)
def test_an_interrupted_release_is_rolled_back_or_finished(
    scene, second, monkeypatch, verb, weights, desired
):
    """All traffic is on the new color, the old one is not yet stopped."""
    from infra.release.canary import Rollout

    with monkeypatch.context() as patch:
        patch.setattr(Rollout, "_watch", _interrupt)
        assert _do("release") == 130
    assert (scene.weights(), scene.desired()) == (GREEN, (2, 2))
    assert _do(verb) == 0
    assert (scene.weights(), scene.desired()) == (weights, desired)


def _interrupt(*_):
    raise KeyboardInterrupt


def test_an_unhealthy_color_gets_no_traffic_back(scene, second, capsys):
    """An abort must not cause an outage."""
    _do("canary")
    group = scene.groups["blue"]
    found = aws("elbv2").describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    aws("elbv2").deregister_targets(TargetGroupArn=group, Targets=[one["Target"] for one in found])
    assert _do("abort") == 2
    assert scene.weights() == (90, 10)
    assert "is not healthy" in capsys.readouterr().err


def test_a_new_revision_replaces_the_current_canary(scene, second, capsys):
    """The old canary loses its traffic before its tasks are replaced."""
    _do("canary")
    scene.values["service_task_definition"] = third = scene.revision("three")
    scene.write()
    assert _do("canary", "--share", "20") == 0
    assert "is rolled back first" in capsys.readouterr().out
    assert (scene.weights(), _colors(scene)[1].revision) == ((80, 20), third)


def test_an_image_is_released_by_its_commit_or_bento(scene, capsys):
    """Its revision is registered once; the colon of a Bento's tag is replaced."""
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
    green = _colors(scene)[1]
    found = aws("ecs").describe_task_definition(taskDefinition=green.revision)["taskDefinition"]
    assert found["containerDefinitions"][0]["image"] == f"{REPOSITORY}:ctr-qf3x"
    assert (found["cpu"], found["networkMode"]) == ("512", "awsvpc")
    assert _do("release", "--image", "ctr:qf3x") == 0
    assert _colors(scene)[1].revision == green.revision, "found, not registered again"
    assert _do("canary", "--image", "gone") == 2
    assert "no image clicklab-small/service:gone has been pushed" in capsys.readouterr().err


def test_a_release_of_another_image_than_the_canarys_is_refused(scene, second, capsys, monkeypatch):
    """Only what was tried is released in its place."""
    _do("canary")
    monkeypatch.setattr(release, "choose", lambda values, image: scene.first)
    assert _do("release", "--image", "one") == 2
    assert "is the canary, not" in capsys.readouterr().err
    assert scene.weights() == (90, 10)


def test_status_shows_both_colors(scene, capsys):
    """One line per color: share, tasks, image."""
    assert release.main(["status"]) == 0
    out = capsys.readouterr().out
    assert "blue   100%   2 of 2 tasks healthy" in out
    assert f"{REPOSITORY}:one" in out


@pytest.mark.parametrize("share", ["0", "51", "-1", "ten"])
def test_an_invalid_share_is_refused(scene, share, capsys):
    """A canary with more than half of the traffic would be the live color."""
    with pytest.raises(SystemExit):
        release.main(["canary", "--share", share])
    assert "a canary gets 1 to 50 percent" in capsys.readouterr().err or share == "-1"


def test_a_deployment_without_serving_is_named(scene, capsys):
    """One line, before any call to ECS."""
    scene.values["listener_arn"] = ""
    scene.write()
    assert _do("canary") == 3
    assert "has no listener_arn" in capsys.readouterr().err


def test_a_listener_without_weights_is_named(scene, second, capsys):
    """It was changed by hand."""
    aws("elbv2").modify_listener(
        ListenerArn=scene.listener,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}],
    )
    assert _do("canary") == 2
    assert "does not forward by weight" in capsys.readouterr().err
