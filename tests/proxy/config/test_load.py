"""The configuration as a whole: defaults, precedence, and every problem told at once with its place and its remedy."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

from modelward.config.address import Address
from modelward.config.load import load
from modelward.config.schema import Config
from modelward.config.sources import from_file, unread
from modelward.config.workers import cores
from modelward.problem import ProblemsFound
from tests import models

EXAMPLE = """
listen:
  grpc: 127.0.0.1:8001
  http: 127.0.0.1:8002
workers: 1
repository: ./models
limits:
  peer:     {rate: 2000/s, burst: 500}
  identity: {rate: 1000/s, burst: 200}
  total:    {rate: 50000/s, burst: 5000}
  message_size: 16MiB
  inflight_bytes: 256MiB
models:
  fraud:
    deadline: 50ms
    limit: {rate: 5000/s, burst: 500}
    batching: {max: 256}
    fallback:
      - model: fraud-lite
      - value: {probabilities: [[0.5, 0.5]]}
    anomaly: {profile: profile.npz, mode: observe, false_positive_rate: 0.001}
"""


def config(
    text: str | None = None,
    tmp_path: Path | None = None,
    sets: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Config:
    path = None
    if text is not None:
        assert tmp_path is not None
        path = tmp_path / "modelward.yaml"
        path.write_text(text)
    return load(path, sets, environ or {})


def unusable(text: str, tmp_path: Path) -> dict[str, list[str]]:
    """Models whose own settings cannot be used, and why."""
    found = config(text, tmp_path).unusable
    return {name: [str(p).replace(f"{tmp_path}/", "") for p in problems] for name, problems in found.items()}


def problems(text: str | None, tmp_path: Path, **sources: object) -> list[str]:
    with pytest.raises(ProblemsFound) as found:
        config(text, tmp_path, **sources)  # type: ignore[arg-type]
    return [str(problem).replace(f"{tmp_path}/", "") for problem in found.value.problems]


def test_without_any_source_the_defaults_hold() -> None:
    default = config()
    assert default.listen.grpc == Address(host="127.0.0.1", port=8001)
    assert default.repository is None
    assert (default.limits.peer, default.limits.identity, default.limits.total) == (None, None, None)
    assert (default.limits.message_size, default.limits.inflight_bytes) == (16 * 2**20, 256 * 2**20)
    assert default.limits.model_dump(mode="json")["connections"] == {
        "total": None,
        "per_peer": None,
        "rate_per_peer": "200/s",
    }
    assert default.limits.streams == 128
    assert default.limits.model_dump(mode="json")["timeouts"] == {
        "handshake": "5s",
        "request": "30s",
        "idle_stream": "5m",
        "idle_connection": "1h",
        "stalled": "30s",
    }
    unknown = default.settings("any")
    assert (unknown.deadline, unknown.limit, unknown.batching.max, unknown.fallback) == (None, None, 256, ())
    assert (unknown.anomaly.mode, unknown.anomaly.false_positive_rate) == ("observe", 0.001)


def test_the_documented_example_loads_in_the_units_of_the_data_plane(tmp_path: Path) -> None:
    loaded = config(EXAMPLE, tmp_path)
    fraud = loaded.models["fraud"]
    assert loaded.repository == tmp_path / "models"
    assert loaded.limits.peer is not None
    assert (loaded.limits.peer.rate, loaded.limits.peer.burst) == (2000.0, 500)
    assert fraud.deadline == 50_000_000
    assert [(fallback.model, fallback.value) for fallback in fraud.fallback] == [
        ("fraud-lite", None),
        (None, {"probabilities": [[0.5, 0.5]]}),
    ]


def test_a_configuration_written_out_loads_again_as_itself(tmp_path: Path) -> None:
    loaded = config(EXAMPLE, tmp_path)
    assert Config.model_validate_json(loaded.model_dump_json(exclude_none=True)) == loaded


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        config().workers = 2  # type: ignore[misc]


def test_flags_win_over_the_environment_which_wins_over_the_file(tmp_path: Path) -> None:
    text = "limits: {streams: 1, total: {rate: 1/s}, message_size: 1KiB}"
    environ = {"MODELWARD__LIMITS__STREAMS": "2", "MODELWARD__LIMITS__TOTAL__RATE": "2/s"}
    limits = config(text, tmp_path, ["limits.streams=3"], environ).limits
    assert limits.total is not None
    assert (limits.streams, limits.total.rate, limits.message_size) == (3, 2.0, 1024)


def test_the_later_of_two_flags_wins() -> None:
    assert config(sets=["limits.streams=3", "limits.streams=4"]).limits.streams == 4


def test_a_model_name_with_dots_is_quoted_in_a_flag() -> None:
    loaded = config(sets=['models."fraud.v2".deadline=1s', "models.'a=b'.deadline=2s", "models.plain.deadline=3s"])
    assert {name: settings.deadline for name, settings in loaded.models.items()} == {
        "fraud.v2": 10**9,
        "a=b": 2 * 10**9,
        "plain": 3 * 10**9,
    }


def test_model_names_in_the_environment_keep_their_case() -> None:
    assert list(config(environ={"MODELWARD__MODELS__Fraud__DEADLINE": "1s"}).models) == ["Fraud"]


def test_variables_of_other_programs_and_of_the_build_are_left_alone() -> None:
    assert config(environ={"MODELWARD_SANITIZE": "1", "MODELWARD": "x", "PATH": "/bin"}) == config()


@pytest.mark.parametrize("assignment", ["limits.streams", "=3", ".a=1", "a.=1", "a..b=1", "", 'models."x.deadline=1s'])
def test_a_flag_that_sets_nothing_says_how_to_set_something(tmp_path: Path, assignment: str) -> None:
    (told,) = problems(None, tmp_path, sets=[assignment])
    assert told.startswith(f"--set {assignment}: this sets nothing. Write KEY=VALUE")


def test_a_section_whose_lines_are_all_commented_out_is_empty(tmp_path: Path) -> None:
    text = "listen:\nlimits:\n  peer:\nmodels:\n  fraud:\n    fallback:\n    anomaly:\n"
    assert config(text, tmp_path).settings("fraud") == config().settings("fraud")


def test_null_takes_a_limit_away_again(tmp_path: Path) -> None:
    assert config("limits: {peer: {rate: 1/s}}", tmp_path, ["limits.peer=null"]).limits.peer is None


@pytest.mark.parametrize(("rate", "burst"), [("1000/s", 100), ("1/h", 1), ("15/s", 2)])
def test_an_absent_burst_is_a_tenth_of_a_second_and_at_least_one(rate: str, burst: int) -> None:
    total = config(sets=[f"limits.total.rate={rate}"]).limits.total
    assert total is not None
    assert total.burst == burst


def test_every_problem_is_told_at_once_with_its_line_and_its_remedy(tmp_path: Path) -> None:
    text = (
        "listen: {htp: 127.0.0.1:1, grpc: 8001}\n"
        "limits:\n"
        "  peer: {rate: fast}\n"
        "  streams: many\n"
        "models:\n"
        "  fraud:\n"
        "    deadline: 50\n"
        "    anomaly: {mode: observed}\n"
    )
    told = problems(text, tmp_path, sets=["limits.total.burst=5"], environ={"MODELWARD__WORKRS": "1"})
    assert told == [
        "modelward.yaml:1: listen.grpc: 8001 is not an address. "
        "Write host:port (127.0.0.1:8001, [::1]:8001, 0.0.0.0:8001) or unix:/path/of.sock",
        "modelward.yaml:1: listen.htp: unknown key. Did you mean http?",
        "modelward.yaml:3: limits.peer.rate: 'fast' is not a rate. Write a number per s, m or h: 1000/s, 60/m",
        "--set limits.total.burst: limits.total: burst without rate or time. Write rate: 1000/s, or time: 500ms/s",
        "modelward.yaml:4: limits.streams: 'many': input should be a valid integer. "
        "Concurrent streams of one connection",
        "modelward.yaml:7: models.fraud.deadline: 50 is not a duration. "
        "Write a number and a unit (ns, us, ms, s, m, h): 50ms, 1.5s, 2m",
        "modelward.yaml:8: models.fraud.anomaly.mode: 'observed' is none of "
        "'off', 'observe', 'tag', 'fallback' or 'reject'. Did you mean observe?",
        "environment variable MODELWARD__WORKRS: workrs: unknown key. Did you mean workers?",
    ]


def test_workers_are_a_number_or_one_per_core(tmp_path: Path) -> None:
    assert config().workers == 1
    assert config(sets=["workers=3"]).workers == 3
    assert config(sets=["workers=auto"]).workers == cores()
    (told,) = problems(None, tmp_path, sets=["workers=many"])
    assert told == "--set workers: workers: 'many' is not a number of workers. Write 1 to 64, or auto"
    for wrong in ("0", "65", "true", "1.5"):
        assert problems(None, tmp_path, sets=[f"workers={wrong}"])


@pytest.mark.parametrize(
    ("assignment", "finding"),
    [
        ("limits.message_size=1GiB", "inflight_bytes is smaller than message_size"),
        ("limits.message_size=2GiB", "less than or equal to 2147483647"),
        ("limits.streams=0", "greater than or equal to 1. Write at least 1"),
        ("load_timeout=10ms", "Write at least 100ms"),
        ("models.m.fallback={value: {y: 1}}", "a mapping: input should be a valid list. Write a list: - value: {...}"),
        ("limits.streams=true", "valid integer"),
        ("limits.total={rate: 1/s, burst: 0}", "Write a whole number from 1"),
        ("models.m.anomaly.false_positive_rate=0", "greater than 0"),
        ("models.m.anomaly.false_positive_rate=.nan", "less than 1"),
        ("models.m.batching.max=0", "greater than or equal to 1"),
        ("models.m.shadow={version: 2, only: {identity: a}}", "only.identity and no caller has an identity"),
        ("models.m={anomaly: {mode: reject}, shadow: {version: 2, only: {anomalous: true}}}", "no such request gets"),
        (f"models.'{'é' * 65}'.deadline=1s", "names are 1 to 128 bytes"),
        ("models.m.fallback=[{}]", "exactly one of model, value and last_good"),
        ("models.m.fallback=[{model: a, value: {y: 1}}]", "exactly one of model, value and last_good"),
        ("models.m.fallback={model: a}", "valid list"),
        ("models.m.anomaly.mode=fallback", "the model has no fallback"),
        ("models=5", "valid mapping"),
        ("limits=5", "valid mapping"),
        ("repository=[a]", "path"),
    ],
)
def test_a_value_out_of_bounds_is_refused(tmp_path: Path, assignment: str, finding: str) -> None:
    (told,) = problems(None, tmp_path, sets=[assignment])
    assert finding in told


def test_fallbacks_that_lead_in_a_circle_are_refused(tmp_path: Path) -> None:
    text = "models:\n  a: {fallback: [model: b]}\n  b: {fallback: [model: c]}\n  c: {fallback: [model: a]}\n"
    (told,) = problems(text, tmp_path)
    assert "the fallback chain is a circle" in told
    assert {"a", "b", "c"} <= set(told)
    (own,) = problems("models: {a: {fallback: [{model: a}]}}", tmp_path)
    assert "a -> a" in own


def test_chains_that_share_a_fallback_are_no_circle(tmp_path: Path) -> None:
    text = "models:\n  a: {fallback: [model: c, model: b]}\n  b: {fallback: [model: c]}\n"
    assert len(config(text, tmp_path).models) == 2


def test_a_fallback_after_a_value_is_told_to_be_unreachable(tmp_path: Path) -> None:
    text = "models:\n  a:\n    fallback:\n      - value: {y: 1}\n      - model: b\n"
    (told,) = problems(text, tmp_path)
    assert told.startswith("modelward.yaml:4: models.a.fallback[0]: the fallbacks after a value are never reached")


def test_two_listeners_on_one_address_are_refused(tmp_path: Path) -> None:
    (told,) = problems("listen: {grpc: '[::1]:1', http: '[::1]:1'}", tmp_path)
    assert "both [::1]:1" in told
    assert config("listen: {grpc: '[::1]:0', http: '[::1]:0'}", tmp_path).listen.http.port == 0


def test_a_model_brings_its_own_settings_and_the_main_file_wins_key_by_key(tmp_path: Path) -> None:
    models.repository(tmp_path / "models", {"fraud": models.add_one()})
    (tmp_path / "models/fraud/model.yaml").write_text(
        "deadline: 10ms\nbatching: {max: 8}\nanomaly: {mode: tag, false_positive_rate: 0.5}\n"
    )
    text = "repository: models\nmodels: {fraud: {deadline: 20ms, anomaly: {mode: reject}}}"
    fraud = config(text, tmp_path).models["fraud"]
    assert fraud.deadline == 20_000_000
    assert fraud.batching.max == 8
    assert (fraud.anomaly.mode, fraud.anomaly.false_positive_rate) == ("reject", 0.5)


def test_a_problem_in_a_models_own_settings_names_that_file(tmp_path: Path) -> None:
    models.repository(tmp_path / "models", {"fraud": models.add_one()})
    (tmp_path / "models/fraud/model.yaml").write_text("batching: {max: 8}\ndeadlin: 10ms\n")
    assert unusable("repository: models", tmp_path) == {
        "fraud": ["models/fraud/model.yaml:2: models.fraud.deadlin: unknown key. Did you mean deadline?"]
    }


def test_a_models_own_settings_that_cannot_be_used_are_no_hindrance_for_the_others(tmp_path: Path) -> None:
    names = ("a", "b", "circle", "pipe", "sound")
    root = models.repository(tmp_path / "models", dict.fromkeys(names, models.add_one()))
    (root / "a/model.yaml").write_text("deadline: never\n")
    (root / "b/model.yaml").write_text("hedging: {}\n")
    (root / "circle/model.yaml").write_text("fallback: [{model: circle}]\n")
    (root / "sound/model.yaml").write_text("deadline: 5ms\n")
    os.mkfifo(root / "pipe/model.yaml")
    text = "repository: models\nmodels: {a: {limit: {rate: 1/s}}}"
    assert [*unusable(text, tmp_path)] == ["pipe", "a", "b", "circle"]
    loaded = config(text, tmp_path)
    assert (loaded.settings("sound").deadline, loaded.settings("a").deadline) == (5_000_000, None)


def test_what_is_wrong_with_the_main_file_is_not_put_down_to_a_model(tmp_path: Path) -> None:
    root = models.repository(tmp_path / "models", {"a": models.add_one()})
    (root / "a/model.yaml").write_text("deadlin: 1s\n")
    (told,) = problems("repository: models\nlimits: {strems: 1}", tmp_path)
    assert "limits.strems" in told


def test_a_server_that_runs_is_told_of_models_that_are_gone_and_follows_the_rest(tmp_path: Path) -> None:
    models.repository(tmp_path / "models", {"a": models.add_one()})
    file = tmp_path / "modelward.yaml"
    file.write_text("repository: models\nmodels: {gone: {deadline: 1s}}\nlimits: {peer: {rate: 1/s}}\n")
    loaded = load(file, environ={}, again=True)
    assert loaded.limits.peer is not None
    assert "the repository has no model 'gone'" in str(loaded.unfitting[0])


def test_settings_that_link_out_of_the_repository_are_refused(tmp_path: Path) -> None:
    models.repository(tmp_path / "models", {"fraud": models.add_one()})
    (tmp_path / "secret.yaml").write_text("deadline: 1s")
    (tmp_path / "models/fraud/model.yaml").symlink_to(tmp_path / "secret.yaml")
    (told,) = unusable("repository: models", tmp_path)["fraud"]
    assert "leaves the model's folder" in told


def every_file(kind: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys of the schema, in a section or an annotation, that are Paths."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from every_file(field.annotation, (*path, name))
    elif kind is Path:
        yield path
    elif get_origin(kind) is Mapping and Path in get_args(get_args(kind)[1]):
        yield (*path, "name")
    else:
        for each in get_args(kind):
            yield from every_file(each, path)


FILES = sorted({*every_file(Config), ("access", "jwt", "jwks")})


@pytest.mark.parametrize("listed", [False, True], ids=["one mapping", "a list"])
@pytest.mark.parametrize("keys", FILES, ids=".".join)
def test_a_relative_file_is_relative_to_the_configuration(keys: tuple[str, ...], listed: bool, tmp_path: Path) -> None:
    written: Any = "a/b.pem"
    for key in reversed(keys):
        written = {key: written}
    if "models" in keys:
        written["models"] = {"fraud": {"upstreams": ["127.0.0.1:1"]} | written["models"]}
    if "shadow" in keys and listed:
        written["models"]["fraud"]["shadow"] = [written["models"]["fraud"]["shadow"]]
    (tmp_path / "modelward.yaml").write_text(yaml.safe_dump(written))
    assert str(tmp_path / "a/b.pem") in str(from_file(tmp_path / "modelward.yaml").values)


def test_files_are_found_below_lists_and_models() -> None:
    assert ("models", "shadow", "upstream_tls", "ca") in FILES
    assert ("limits", "shared", "password_file") in FILES


def test_an_absolute_file_and_a_url_stay_as_they_are(tmp_path: Path) -> None:
    text = "access: {jwt: {jwks: 'https://a.example/keys', ca: /etc/ca.pem}}"
    (tmp_path / "modelward.yaml").write_text(text)
    assert from_file(tmp_path / "modelward.yaml").values == yaml.safe_load(text)


def test_the_profile_of_a_model_that_runs_here_is_relative_to_its_version(tmp_path: Path) -> None:
    text = "models: {fraud: {anomaly: {profile: a.npz}}}"
    (tmp_path / "modelward.yaml").write_text(text)
    assert from_file(tmp_path / "modelward.yaml").values == yaml.safe_load(text)


def test_the_files_of_a_models_own_settings_are_relative_to_these(tmp_path: Path) -> None:
    models.repository(tmp_path / "models", {"fraud": models.add_one()})
    own = tmp_path / "models/fraud/model.yaml"
    own.write_text("shadow: {upstreams: ['127.0.0.1:1'], upstream_tls: {ca: ca.pem}}")
    (shadow,) = config("repository: models", tmp_path).models["fraud"].shadow
    assert shadow.upstream_tls is not None
    assert shadow.upstream_tls.ca == own.parent / "ca.pem"


def test_a_repository_in_the_environment_is_relative_to_the_working_directory(tmp_path: Path) -> None:
    loaded = config("repository: a", tmp_path, environ={"MODELWARD__REPOSITORY": "b"})
    assert loaded.repository == Path("b")


@pytest.mark.parametrize(
    ("content", "finding"),
    [(b"a: \xff", "modelward.yaml:1: the file is not UTF-8"), (b"x" * (2**20 + 1), "more than 1048576 bytes")],
)
def test_a_file_that_is_no_small_text_is_refused(tmp_path: Path, content: bytes, finding: str) -> None:
    (tmp_path / "modelward.yaml").write_bytes(content)
    with pytest.raises(ProblemsFound) as found:
        load(tmp_path / "modelward.yaml", environ={})
    assert finding in str(found.value)


def test_a_missing_file_is_told_together_with_other_problems(tmp_path: Path) -> None:
    with pytest.raises(ProblemsFound) as found:
        load(tmp_path / "none.yaml", ["limits.stream=1"], {})
    assert [problem.what for problem in found.value.problems] == [
        "the configuration cannot be read",
        "limits.stream: unknown key",
    ]


def test_a_model_that_the_repository_lacks_is_told_with_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    models.repository(tmp_path / "models", {"Fraud": models.add_one(), "lite": models.add_one()})
    text = "repository: models\nmodels:\n  fruad: {deadline: 1s}\n  lite:\n    fallback:\n      - model: nothing\n"
    assert problems(text, tmp_path) == [
        "modelward.yaml:3: models.fruad: the repository has no model 'fruad'. Did you mean Fraud?",
        "modelward.yaml:6: models.lite.fallback[0].model: the repository has no model 'nothing'. It has Fraud, lite",
    ]


@pytest.mark.parametrize(
    "assignment",
    [
        "models.fraud.hedging={}",
        "models.fraud.retries={}",
        "models.fraud.signature={inputs: [{name: x, datatype: FP32, shape: [-1]}], "
        "outputs: [{name: y, datatype: FP32, shape: [-1]}]}",
        "passthrough=true",
        "upstream_tls={ca: a.pem}",
        "models.fraud.upstream_tls={ca: a.pem}",
    ],
    ids=lambda text: text.partition("=")[0],
)
def test_what_is_of_upstreams_is_refused_without_any(assignment: str, tmp_path: Path) -> None:
    (told,) = problems(None, tmp_path, sets=[assignment])
    assert "there are no upstreams" in told or "is only for models with upstreams" in told
    assert load(sets=[assignment, "upstreams=['127.0.0.1:1']", "models.fraud.upstreams=['127.0.0.1:1']"], environ={})


def test_variables_with_one_underscore_set_nothing_and_are_noted() -> None:
    environ = {
        "MODELWARD_LISTEN_GRPC": "127.0.0.1:1",
        "MODELWARD_VERSION_POLICY": "explicit",
        "MODELWARD_API_KEY": "k",
        "MODELWARD_SERVICE_HOST": "10.0.0.1",
        "MODELWARD__WORKERS": "1",
    }
    assert [(note.where, note.how.partition(":")[0]) for note in unread(environ)] == [
        ("MODELWARD_LISTEN_GRPC", "Write MODELWARD__LISTEN__GRPC"),
        ("MODELWARD_VERSION_POLICY", "Write MODELWARD__VERSION_POLICY"),
    ]
