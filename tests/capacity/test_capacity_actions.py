"""The actions of `bertbench capacity` on the folder of a sweep, whose runs are simulated: no clock decides them."""

import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from bench.capacity.experiment.experiment_design import FULL
from bench.capacity.model.model_file import read_model, write_model
from bench.capacity.plan.slo import Slo
from bench.capacity.plan.slo_rate import SloRate, slo_rate
from bench.cli import main
from bench.core.units import format_rate
from tests.support.json_documents import document
from tests.support.known_sweeps import FIT, KnownDriver, KnownServer, sweep_of

pytestmark = pytest.mark.long(30)

SWEEP = "capacity sweep"


def bertbench(*words: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    code = main(["capacity", *words], out, err)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A sweep of a server that works on one request at a time, 10 ms each, with model, plan and report."""
    path = tmp_path_factory.mktemp("capacity") / "sweep"
    sweep_of(path, KnownDriver(KnownServer(1, 0.01, 0.5, seed=3)), Slo.parse("p99=200ms")).run()
    day = path.parent / "day.csv"
    day.write_text("time,rate\n00:00,50\n08:00,400\n20:00,150\n")
    fast = replace(FULL, replicates=FIT.replicates, effort=FIT.effort, reference=FIT.reference)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bench.capacity.sweeps.FULL", fast)
        plan = ("--plan", "rate=400/s", "--price", "1.5", "--diurnal", str(day))
        code, _, err = bertbench("fit", str(path), "--seed", "5", *plan)
        assert code == 0, err
        yield path


def test_the_report_has_the_measurement_the_model_and_the_plan(known: Path) -> None:
    found = orjson.loads((known / "capacity.json").read_bytes())
    rate = found["slo_rate"]
    assert 60 < rate["lo"] <= rate["center"] < 105
    assert rate["hi"] is None or rate["hi"] >= rate["center"]
    assert found["hold_out"]["checks"]
    assert found["saturated"] == pytest.approx(100, rel=0.05)
    assert found["plan"]["row"]["replicas"] > 400 / 105
    assert found["plan"]["diurnal"]["price_followed"] < found["plan"]["diurnal"]["price_fixed"]
    text = (known / "capacity.md").read_text()
    pictures = sorted(path.name for path in known.glob("*.png"))
    assert pictures == [f"capacity-{name}.png" for name in ("checks", "day", "latency", "replicas", "throughput")]
    assert all(picture in text for picture in pictures)


def test_the_actions_print_json(known: Path, tmp_path: Path) -> None:
    # A copy, since fit writes the report anew.
    folder = str(shutil.copytree(known, tmp_path / "sweep"))
    stored = document(f"{orjson.dumps(orjson.loads((known / 'capacity.json').read_bytes())).decode()}\n", SWEEP)
    fit = document(bertbench("fit", folder, "--seed", "5", "--json")[1], "capacity fit")
    assert [fit[name] for name in ("points", "saturated", "plan")] == [
        stored[name] for name in ("points", "saturated", "plan")
    ]
    assert fit["report"] == f"{folder}/capacity.md"
    code, out, _ = bertbench("plan", folder, "--plan", "rate=400/s", "--json", "--slo", "p99=5s")
    plan = document(out, "capacity plan")
    assert (code, plan["cheapest"], plan["message"]) == (0, stored["label"], None)
    assert plan["sweeps"][0]["plan"]["replicas"] >= plan["sweeps"][0]["plan"]["needed"] > 2
    words = ["--replicas", "3", "--rate", "100/s", "--duration", "2m", "--fail", "0@30s-60s", "--policy", "round-robin"]
    (fleet,) = document(bertbench("simulate", folder, *words, "--json")[1], "capacity simulate")["fleets"]
    assert [window["time"] for window in fleet["windows"][:2]] == [1.0, 3.0]
    assert [entry["replicas"] for entry in fleet["replicas"]] == [3, 2, 3]


def test_a_plan_has_the_day_and_the_policy(known: Path) -> None:
    folder, day = str(known), str(known.parent / "day.csv")
    words = ("plan", folder, folder, "--diurnal", day, "--policy", "random", "--price", "1.5", "--price", "3")
    code, out, _ = bertbench(*words)
    assert code == 0
    assert out.startswith("# Capacity for 400/s\n")
    assert [out.count(text) for text in ("### Day", "| 20:00 | 150/s | ", "replica hours if")] == [2, 2, 2]
    assert out.count("random, simulated: p50 ") == 4
    found = document(bertbench(*words, "--json")[1], "capacity plan")
    stored = orjson.loads((known / "capacity.json").read_bytes())["plan"]
    for sweep, factor in zip(found["sweeps"], (1, 2), strict=True):
        assert sweep["diurnal"]["hours_followed"] == stored["diurnal"]["hours_followed"]
        assert sweep["diurnal"]["price_fixed"] == factor * stored["diurnal"]["price_fixed"]
        assert [span["label"] for span in sweep["diurnal"]["spans"]] == ["00:00", "08:00", "20:00"]
        assert (sweep["all_up"]["policy"], sweep["spare_down"]["policy"]) == ("random", "random")
    plain = document(bertbench("plan", folder, "--plan", "400/s", "--json")[1], "capacity plan")
    assert plain["sweeps"][0]["diurnal"] is None


def test_report_plan_and_simulate_use_the_stored_sweep(known: Path, tmp_path: Path) -> None:
    folder = str(shutil.copytree(known, tmp_path / "sweep"))
    code, out, _ = bertbench("report", folder, "--slo", "p95=300ms")
    assert code == 0
    assert "p95=300ms" in out
    code, out, _ = bertbench("plan", folder, folder, "--plan", "rate=1000/s", "--price", "1", "--price", "2")
    assert code == 0
    assert out.count("One server sustains") == 2
    picture = tmp_path / "fleet.png"
    code, out, _ = bertbench(
        *("simulate", folder, "--replicas", "6", "--rate", "300/s", "--duration", "30s"),
        *("--fail", "0@10s-20s", "--slow", "1x2.5@5s", "--out", str(picture)),
    )
    assert code == 0
    assert all(policy in out for policy in ("random", "round-robin", "least-loaded", "two-choices"))
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_rate_too_uncertain_for_a_plan_is_reported_all_the_same(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(known, tmp_path / "sweep")
    for path in folder.glob("capacity*"):
        path.unlink()

    def uncertain(*given: Any) -> SloRate:
        found = slo_rate(*given)
        return replace(found, rate=replace(found.rate, lo=0.0))

    monkeypatch.setattr("bench.capacity.experiment.assemble.slo_rate", uncertain)
    code, out, err = bertbench("report", str(folder), "--plan", "rate=400/s")
    why = "no plan: the sustained rate of one replica is too uncertain for a plan: its interval begins at 0"
    assert (code, err.startswith(f"bertbench: {why}; measure longer")) == (3, True)
    assert out.startswith("one server (")
    for name in ("capacity.html", "capacity.md"):
        assert why in (folder / name).read_text()
    found = orjson.loads((folder / "capacity.json").read_bytes())
    assert (found["exit_code"], found["plan"], found["attainable"]) == (3, None, True)
    code, out, _ = bertbench("report", str(folder), "--plan", "none")
    assert (code, why in out) == (0, False)


def test_a_report_made_again_is_about_what_was_stored(known: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(known, tmp_path / "sweep")
    words = ["--redundancy", "2N", "--headroom", "5%", "--price", "0.25", "--policy", "random"]
    words += ("--diurnal", str(known.parent / "day.csv"), "--plan", "rate=300/s", "--slo", "p99=150ms")
    assert bertbench("fit", str(folder), "--seed", "7", *words)[0] == 0

    def stored() -> dict[str, Any]:
        return dict(orjson.loads((folder / "capacity.json").read_bytes()))

    first = stored()
    assert [first["plan"][name] for name in ("redundancy", "headroom", "price", "policy")] == [
        "2N",
        0.05,
        0.25,
        "random",
    ]
    assert (first["slo"], first["plan"]["row"]["rate"], len(first["plan"]["diurnal"]["spans"])) == (
        "p99=150ms,wrong=0", 300.0, 3,
    )  # fmt: skip
    assert "of other options (--slo was p99=200ms,wrong=0, --seed was 5, --plan was rate=400/s, " in str(
        first["warnings"]
    )
    for action in ("report", "fit"):
        assert bertbench(action, str(folder))[0] == 0
        again = stored()
        assert "of other options" not in str(again["warnings"])
        same = {"command": "", "warnings": first["warnings"]}
        assert again | same == first | same


def test_a_report_of_other_options_names_those_that_it_replaces(known: Path, tmp_path: Path) -> None:
    folder = str(shutil.copytree(known, tmp_path / "sweep"))
    replaces = "note: this report replaces one of other options"
    out = bertbench("report", folder, "--plan", "rate=300/s", "--slo", "p99=150ms")[1]
    assert "plan, by the model: 300/s needs " in out
    assert (
        f"{replaces} (--slo was p99=200ms,wrong=0, --plan was rate=400/s, --price was 1.5, --diurnal was given)" in out
    )
    out = bertbench("report", folder, "--plan", "none")[1]
    assert "plan, by the model" not in out
    assert "within p99=150ms,wrong=0 by the model" in out
    assert f"{replaces} (--plan was rate=300/s)" in out
    assert replaces not in bertbench("report", folder)[1]
    out = bertbench("fit", folder, "--servers", "3", "--seed", "5")[1]
    assert f"{replaces} (--servers was not given)" in out
    assert f"{replaces} (--servers was 3)" in bertbench("fit", folder)[1]


def test_a_report_of_an_earlier_version_has_no_stored_options(known: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(known, tmp_path / "sweep")
    stored = orjson.loads((folder / "sweep.json").read_bytes())
    del stored["report"]
    (folder / "sweep.json").write_bytes(orjson.dumps(stored | {"format": 4}))
    code, out, err = bertbench("report", str(folder))
    assert code == 0, err
    assert "note: this report replaces one whose options an earlier version did not store: without --slo the" in out
    assert "earlier version" not in bertbench("report", str(folder))[1]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("slo", "p98=3ms", "p98"),
        ("servers", "four", "report.servers: expected int | null, got str"),
        ("policy", "best", "'best' is not a balancing policy"),
        ("redundancy", {"spare": -1, "factor": 1.0}, "a redundancy of -1 spare"),
        ("rate", -5.0, "rate is -5.0/s; it must be above 0 and"),
        ("spans", [{"label": "0", "start": 0.0, "seconds": 0.0, "rate": 5.0}], "a time of 0.0 seconds"),
    ],
)
def test_damaged_options_of_a_report_are_refused(known: Path, tmp_path: Path, name: str, value: Any, says: str) -> None:
    folder = shutil.copytree(known, tmp_path / "sweep")
    stored = orjson.loads((folder / "sweep.json").read_bytes())
    places = (stored["report"], stored["report"]["plan"], stored["report"]["plan"]["options"])
    place = next(part for part in places if name in part)
    place[name] = value
    (folder / "sweep.json").write_bytes(orjson.dumps(stored))
    code, _, err = bertbench("report", str(folder))
    assert (code, err.count("\n"), "is not a valid sweep file" in err, says in err) == (2, 1, True, True), err


def test_another_objective_of_a_report_does_not_change_later_plans(known: Path, tmp_path: Path) -> None:
    folder = str(shutil.copytree(known, tmp_path / "sweep"))
    words = ("plan", folder, "--plan", "rate=400/s")
    before = bertbench(*words)
    assert before[0] == 0
    assert "One server sustains" in before[1]
    assert " within p99=200ms,wrong=0 by the model (measured: " in before[1]
    assert bertbench("report", folder, "--slo", "p99=30ms")[0] == 0
    assert bertbench("fit", folder, "--slo", "p99=40ms", "--seed", "5")[0] == 0
    assert bertbench(*words) == before
    found = document(bertbench(*words, "--json")[1], "capacity plan")["sweeps"][0]
    assert (found["slo"], found["sentences_per_request"], found["reason"]) == ("p99=200ms,wrong=0", 1, "")


def test_a_plan_has_the_warnings_of_the_report(known: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(known, tmp_path / "sweep")
    words: tuple[str, ...] = ("plan", str(folder), "--plan", "rate=400/s")
    report = document(bertbench("report", str(folder), "--json")[1], "capacity report")
    assert document(bertbench(*words, "--json")[1], "capacity plan")["sweeps"][0]["warnings"] == report["warnings"]
    model = orjson.loads((folder / "model.json").read_bytes())
    (folder / "model.json").write_bytes(orjson.dumps(model | {"warnings": ["a warning"]}))
    words += ("--slo", "p99=100s")
    out = bertbench(*words)[1]
    assert "\n- a warning\n- within the limits up to " in out
    assert "One server sustains at least " in out
    (found,) = document(bertbench(*words, "--json")[1], "capacity plan")["sweeps"]
    assert found["warnings"][0] == "a warning"
    assert len(found["warnings"]) == 2


def test_no_plan_where_no_rate_meets_the_objective(known: Path) -> None:
    words = ("plan", str(known), "--plan", "rate=400/s", "--slo", "p99=2ms")
    code, out, err = bertbench(*words)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("bertbench: no plan: p99=2ms,wrong=0 cannot be met: by the model p99 is ")
    assert "One server meets p99=2ms,wrong=0 at no rate: " in out
    found = document(bertbench(*words, "--json")[1], "capacity plan")
    assert (found["exit_code"], found["cheapest"], found["sweeps"][0]["attainable"]) == (1, None, False)


def test_no_plan_where_the_sustained_rate_may_be_0(known: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def uncertain(*given: Any) -> SloRate:
        found = slo_rate(*given)
        return found if found.reason else replace(found, rate=replace(found.rate, lo=0.0))

    monkeypatch.setattr("bench.capacity.plan.compare_sweeps.slo_rate", uncertain)
    code, out, err = bertbench("plan", str(known), str(known), "--plan", "rate=400/s")
    assert code == 3
    why = "the sustained rate of one replica is too uncertain for a plan: its interval begins at 0; measure longer"
    assert err.count(why) == 2
    assert out.count(f"**No plan: {why}.**") == 2


def test_a_fleet_that_loses_every_request_is_drawn(known: Path, tmp_path: Path) -> None:
    picture = tmp_path / "fleet.png"
    words = ("--replicas", "1", "--rate", "20/s", "--duration", "20s", "--fail", "0@0s", "--noticed", "1ms")
    code, out, _ = bertbench("simulate", str(known), *words, "--policy", "random", "--out", str(picture))
    assert code == 0
    assert [line.split()[:5] for line in out.splitlines()][2] == ["random", "—", "—", "—", "—"]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_simulation_beyond_the_measured_rates_says_so(known: Path, tmp_path: Path) -> None:
    read = read_model(known)
    stored = replace(read, warnings=(*read.warnings, "one more of the sweep"))
    write_model(tmp_path, stored)
    known, model, notes = tmp_path, stored.model, [f"note: {warning}" for warning in stored.warnings]
    highest, capacity = (format_rate(value) for value in (model.valid[1], model.parameter_set.capacity))
    words = ("simulate", str(known), "--policy", "random", "--duration", "20s", "--rate")
    code, out, _ = bertbench(*words, "60/s", "--replicas", "1")
    assert (code, out.splitlines()[3:]) == (0, notes)
    beyond = f"above {highest}, the highest rate that the model covers: its latency is extrapolated"
    grows = f", and grows as long as the rate is above its capacity of {capacity}"
    code, out, _ = bertbench(*words, "500/s", "--replicas", "1")
    assert (code, out.splitlines()[-1]) == (0, f"note: up to 500/s for one replica, {beyond}{grows}")
    # One of two is down for a while.
    found = document(
        bertbench(*words, "100/s", "--replicas", "2", "--fail", "0@5s-9s", "--json")[1], "capacity simulate"
    )
    assert found["warnings"] == [
        *stored.warnings,
        f"up to 100/s for one replica, {beyond}" + grows * (model.parameter_set.capacity <= 100),
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("plan", "{}"), "--plan rate=500/s"),
        (("plan", "{}", "--plan", "users=500"), "rate=500/s"),
        (("plan", "{}", "--plan", "9/s", "--price", "1", "--price", "2"), "2 prices for 1 sweep; give --price once"),
        (("plan", "{}", "{}", "--plan", "9/s", *("--price", "1") * 3), "3 prices for 2 sweeps; give one --price for"),
        (("report", "{}", "--price", "1", "--price", "2"), "2 prices for 1 sweep; give --price once"),
        (
            ("simulate", "{}", "--replicas", "2", "--rate", "9/s", "--slow", "0x1.2.3@5s"),
            "--slow: '1.2.3' is not a number; give a number above",
        ),
        (("simulate", "{}", "--replicas", "2", "--rate", "9/s", "--fail", "2@5s"), "no replica 2 among 2"),
        (("report", "{}-missing"), "{}-missing"),
        (("report", "{}", "--price", "1"), "--price without a rate to plan for; give --plan rate=500/s or --diurnal"),
        (("fit", "{}", "--redundancy", "2N", "--headroom", "5%"), "--redundancy, --headroom without a rate to plan"),
        (("report", "{}", "--policy", "random"), "--policy without a rate to plan for"),
        (("--out", "{}-new", "--price", "1", "--policy", "random"), "--price, --policy without a rate to plan for"),
        (("--out", "{}-new", "--price", "1", "--policy", "random", "--replicas", "2"), ": --price without a rate"),
        (
            ("simulate", "{}", "--replicas", "2", "--rate", "9/s", "--noticed", "5s"),
            "--noticed 5s is about failures, and there is none; give one with --fail",
        ),
        (("sweep", "--out", "{}"), "--resume"),
        (("--slo", "p98=3ms"), "p98"),
    ],
)
def test_malformed_options_are_refused_in_one_line(known: Path, words: tuple[str, ...], says: str) -> None:
    folder = str(known)
    code, _, err = bertbench(*(word.format(folder) for word in words))
    assert code == 2
    assert err.count("\n") == 1
    assert says.format(folder) in err


def test_settings_of_plans_do_not_keep_an_action_without_one(
    known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(shutil.copytree(known, tmp_path / "sweep"))
    for name, value in (("HEADROOM", "30%"), ("REDUNDANCY", "2N"), ("PRICE", "1"), ("NOTICED", "5s")):
        monkeypatch.setenv(f"BERTBENCH_{name}", value)
    code, _, err = bertbench("report", folder)
    assert code == 0, err
    code, _, err = bertbench("simulate", folder, "--replicas", "2", "--rate", "9/s", "--duration", "20s")
    assert code == 0, err
    code, _, err = bertbench("report", folder, "--headroom", "30%")
    assert (code, "--headroom without a rate to plan for" in err) == (2, True)


@pytest.mark.parametrize("option", ["--seed", "--servers"])
def test_a_report_fits_nothing(known: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bertbench("report", str(known), option, "7")
    assert f"unknown option {option}" in capsys.readouterr().err


def test_servers_of_a_server_that_makes_batches_are_refused(known: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(known, tmp_path / "sweep")
    stored = orjson.loads((folder / "sweep.json").read_bytes())
    batching = "largest=16,timeout=0.001s,threads=2"
    (folder / "sweep.json").write_bytes(orjson.dumps(stored | {"job": stored["job"] | {"batching": batching}}))
    code, _, err = bertbench("fit", str(folder), "--servers", "7")
    assert code == 2
    assert err.startswith(f"bertbench: --servers 7 has no effect on a server that makes batches ({batching}): ")


def test_an_unattainable_objective_exits_with_1_and_writes_the_report(known: Path) -> None:
    code, out, err = bertbench("report", str(known), "--slo", "p99=2ms", "--json")
    assert (code, err.count("\n")) == (1, 1)
    found = document(out, "capacity report")
    assert (found["attainable"], found["exit_code"], found["message"]) == (False, 1, err.rstrip("\n"))
    assert "cannot be met" in err
    assert (known / "capacity.md").is_file()
