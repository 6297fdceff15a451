"""The page of `adacal report`: what goes in, what stays out, and what a browser makes of it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adacal.suite import report, report_pictures
from adacal.suite.cli import main
from adacal.suite.config import resolve
from adacal.suite.foreign import PlugIn
from adacal.suite.places import CHECKOUT
from adacal.suite.published import COLUMNS
from adacal.suite.records import LayerCost, RunRecord
from adacal.suite.report_data import Shared, page_data, run_data
from adacal.suite.report_pictures import find_pictures
from adacal.suite.report_published import find_published
from adacal.suite.runner import measure
from adacal.suite.session import Session
from adacal.suite.store import RecordStore
from suite.suite_toys import raw_config

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
VENDOR = Path(report.__file__).parent / "page" / "vendor"
EVIL = "burst</script><img src=x onerror=alert(1)>"
PUBLISHED = (
    "A,2026,arXiv:2106.06984 Table 1,events,toy_data,toy_net,their bursts,2,accuracy_pct,80,85,,",
    "A,2026,arXiv:2106.06984 Table 1,events,toy_data,toy_net,another,2,accuracy_pct,70,85,,",
    f"Odd,2020,a talk,detection,far,away,{EVIL},,map_pct,12.5,,,secondary: heard",
)
MODELS = ("per_spike", "per_event", "memory", "reference")

# Uses the page as a reader does and leaves what it saw in the page's text, as JSON.
DRIVER = """
const wait = (test) => new Promise((done) => {
  const look = () => (test() ? done() : setTimeout(look, 20));
  look();
});
const one = (what) => document.querySelector(what);
const column = (place) =>
  [...document.querySelectorAll("#table tbody tr")].map((row) => row.children[place].textContent);
const names = () => column(1);
const type = (text, id = "text") => {
  document.getElementById(id).value = text;
  document.getElementById(id).dispatchEvent(new Event("input"));
};
const drawn = () => { // points of the curves over energy: faint ones, those in full
  const count = (name) =>
    one(`#energy-chart g[aria-description="${name}"]`)?.childElementCount ?? 0;
  return [count("faint rows"), count("rows in full")];
};
const lit = () => new URLSearchParams(location.hash.slice(1)).get("lit");
const key = (label) => one(`#legend button[data-label="${label}"]`);
const published = () =>
  [...document.querySelectorAll("#published-table tbody tr")].map((row) => row.textContent);
wait(() => document.documentElement.dataset.ready).then(async () => {
  const seen = { start: names(), dots: document.querySelectorAll("#energy-chart svg path").length };
  one('th button[data-key="energy"]').focus();
  one('th button[data-key="energy"]').click();
  seen.rising = column(seen.energy = [...document.querySelectorAll("#table thead th")].findIndex(
    (head) => head.textContent.startsWith("energy")));
  seen.sorted = one("[aria-sort]").getAttribute("aria-sort");
  seen.focus = document.activeElement.dataset.key;
  one('th button[data-key="energy"]').click();
  seen.falling = column(seen.energy);
  type("BURST");
  seen.filtered = names();
  seen.count = one("#count").textContent;
  type("nothing has this name");
  seen.none = names();
  type("");
  one('.open[data-run="burst2s00000000a"]').click();
  seen.open = one("dialog").open;
  seen.run = one("#run-body").textContent;
  seen.figures = document.querySelectorAll("dialog svg").length;
  one('dialog [aria-pressed="false"]').click();
  seen.seed = one('[aria-pressed="true"]').textContent;
  one("dialog .top button").click();
  seen.closed = !one("dialog").open;
  seen.few = [drawn(), one("#full").textContent];
  Page.CROWD = 1;
  Page.show();
  seen.crowd = [drawn(), one("#full").textContent];
  key("light").focus();
  key("light").click();
  const marked = [...document.querySelectorAll("#table tr.lit")].map((row) => row.dataset.label);
  seen.lit = [drawn(), key("light").ariaPressed, document.activeElement.dataset.label,
    lit(), marked];
  one('#table tbody tr[data-label="burst"] td').click();
  seen.both = drawn();
  type("light");
  seen.cut = drawn();
  type("");
  one("#table .key[data-label=light]").click();
  one("#legend .clear").click();
  seen.cleared = [drawn(), lit()];
  one("#every").click();
  seen.every = drawn();
  one("#every").click();
  seen.apart = [one("#apart").hidden];
  one("#published").click();
  const { id } = document.activeElement;
  seen.apart.push(one("#apart").hidden, id, published(), one("#apart a").href);
  one("#scope").value = "all";
  one("#scope").dispatchEvent(new Event("change"));
  seen.all = published().length;
  type("ODD", "find");
  seen.found = [published(), one("#published-count").textContent, document.images.length];
  type("", "find");
  one('#published-table th button[data-key="value"]').click();
  seen.order = published().map((row) => row.split("(%)")[1].slice(0, 5));
  one("#published-table .open").click();
  seen.ours = one("#run-title").textContent;
  one("dialog .top button").click();
  one("#published").click();
  seen.apart.push(one("#apart").hidden);
  location.hash = "board=events/toy_data/toy_other&sort=label&down=1&steps=2";
  await wait(() => one("#title").textContent.includes("toy_other"));
  seen.other = names();
  location.hash = "run=burst40000000000";
  await wait(() => one("dialog").open);
  seen.linked = one("#title").textContent + one("#run-title").textContent;
  seen.images = document.images.length;
  document.body.replaceChildren(Object.assign(document.createElement("pre"),
    { id: "seen", textContent: JSON.stringify(seen) }));
});
"""


@pytest.fixture(scope="module", autouse=True)
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A checkout whose documentation has no pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_pictures, "CHECKOUT", tmp_path_factory.mktemp("checkout"))
        yield


@pytest.fixture(scope="module")
def template() -> RunRecord:
    """A run whose plug-in is fixed: the name pytest gives the toys depends on what it collects."""
    toys = PlugIn(
        name="toys", version="", source="", modules=["toys"], parts=["task toy_task"],
        sha256="ab" * 32,
    )  # fmt: skip
    record = measure(resolve(raw_config()), Session())
    assert record.plug_ins and "task toy_task" in record.plug_ins[0].parts
    return record.model_copy(update={"plug_ins": [toys]})


@pytest.fixture(scope="module")
def records(template: RunRecord) -> list[RunRecord]:
    def make(id: str, label: str, strictness: str, uj: float, **more: Any) -> RunRecord:
        pj = dict.fromkeys(MODELS, uj * 1e6)
        energy = template.energy.model_copy(update={"energy_pj": pj})
        values = {"id": id, "method": label, "label": label, "strictness": strictness}
        values["task"] = "events"  # published rows are of tasks that exist
        calibration = template.calibration.model_copy(update={"samples": 128})
        fixed = {"energy": energy, "calibration": calibration}
        return template.model_copy(update={**values, **fixed, **more})

    exits = template.timesteps.model_copy(
        update={"histogram": [0, 30, 10], "mean": 1.25, "metric_by_step": [70.0, 90.0]}
    )
    return [
        make("ann0000000000000", "ann", "none", 4.0, T=1, uses_T=False, mean_max_spikes=None),
        make("quant00000000000", "quantized_ann", "quantised", 1.0, T=2),
        make("burst2s10000000b", "burst", "burst", 2.0, T=2, seed=1, timesteps=exits),
        make("burst2s00000000a", "burst", "burst", 1.0, T=2, seed=0, timesteps=exits),
        make("burst40000000000", "burst", "burst", 11.0, T=4),
        make("light20000000000", "light", "binary", 3.0, T=2),
        make("evil400000000000", EVIL, "burst", 5.0, T=4, model="toy_other"),
        make("other20000000000", "light", "binary", 3.0, T=2, model="toy_other"),
        make("other2b000000000", "burst", "burst", 3.5, T=2, model="toy_other"),
    ]


@pytest.fixture(scope="module")
def results(records: list[RunRecord], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with records, a picture of a record, one of nothing, and a broken one."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("results")
    store = RecordStore(folder)
    store.prepare()
    for record in records:
        store.add(record)
    published = folder / "published"
    published.mkdir()
    (published / "they.csv").write_text("\n".join([",".join(COLUMNS), *PUBLISHED]) + "\n")
    names = {"methods": {"their bursts": {"method": "burst"}}}
    (published / "names.json").write_text(json.dumps(names))
    pictures = folder / "pictures"
    pictures.mkdir()
    stems = [Path(record.filename()).stem for record in records]
    Image.new("RGB", (2400, 300), "red").save(pictures / f"{stems[2]}.png")
    Image.new("RGB", (20, 30), "red").save(pictures / "of_no_record.png")
    (pictures / f"{stems[3]}.png").write_bytes(b"not a picture")
    return folder


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    report.write_report(results, path)
    return path


def unpacked(text: str) -> dict[str, Any]:
    data = re.search(r'<script id="data"[^>]*>([^<]+)</script>', text)
    assert data is not None
    return dict(json.loads(gzip.decompress(base64.b64decode(data[1]))))


def test_every_record_is_a_run_of_exactly_one_row(records: list[RunRecord]) -> None:
    data = page_data(records)
    shown = [run for board in data["boards"] for row in board["rows"] for run in row["runs"]]
    assert sorted(shown) == sorted(record.id for record in records) == sorted(data["runs"])
    (first, _) = data["boards"]
    (row,) = [row for row in first["rows"] if row["label"] == "burst" and row["T"] == 2]
    assert row["runs"] == ["burst2s00000000a", "burst2s10000000b"]  # by seed
    assert row["energy"]["per_spike"]["uj"] == 1.5 and set(row["energy"]) == set(MODELS)
    assert row["energy"]["memory"]["low_uj"] == 1.0 and row["energy"]["memory"]["high_uj"] == 2.0
    json.dumps(data, allow_nan=False)


def test_the_energy_of_a_layer_is_its_macs_and_accumulates_at_their_prices(
    records: list[RunRecord],
) -> None:
    layers = [
        LayerCost(name="act", spikes=5.0, sops=0.0, macs=0.0),
        LayerCost(name="conv", spikes=0.0, sops=1000.0, macs=2000.0),
    ]
    shared = Shared()
    data = run_data(records[2].model_copy(update={"layers": layers}), shared)
    assert data["layers"]["energy_nj"] == [pytest.approx(2.0 * 4.6 + 1.0 * 0.9)]
    assert shared.values[data["layers"]["names"]] == ["conv"]


def test_published_rows_stand_apart_with_the_gap_to_ours(
    results: Path, records: list[RunRecord]
) -> None:
    published, wrong = find_published(results)
    data = page_data(records, published=published)
    theirs, other, odd = data["published"]["rows"]
    assert wrong == []
    (ours,) = theirs["ours"]  # of the same T only
    (row,) = [r for r in data["boards"][0]["rows"] if (r["label"], r["T"]) == ("burst", 2)]
    assert (ours["board"], ours["label"], ours["run"]) == (0, "burst", row["runs"][0])
    assert ours["gap"] == pytest.approx(row["score"] - 80.0)
    assert (other["boards"], other["ours"], odd["boards"]) == ([0], [], [])
    assert theirs["address"] == "https://arxiv.org/abs/2106.06984" and odd["address"] == ""
    shown = [row["label"] for board in data["boards"] for row in board["rows"]]
    assert "their bursts" not in shown and "another" not in shown


def test_a_page_does_without_published_rows_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "published").mkdir()
    published, wrong = find_published(tmp_path)
    assert list(published.rows) == [] and wrong[0].startswith("no published rows: no published CSV")
    (tmp_path / "published" / "bad.csv").write_text("a,b\n")
    assert "`adacal published --check` lists them" in find_published(tmp_path)[1][0]


def test_what_runs_share_is_kept_once(records: list[RunRecord]) -> None:
    shared = Shared()
    runs = [run_data(record, shared) for record in records]
    assert len({run["environment"] for run in runs}) == 1
    assert shared.values[runs[0]["environment"]] == records[0].environment.model_dump()


def test_the_same_records_give_the_same_page(page: Path, results: Path, tmp_path: Path) -> None:
    report.write_report(results, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()
    assert page.stat().st_size < 700_000


def test_a_page_loads_nothing_from_outside(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'; img-src data:" in text

    class Links(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
            named = dict(attributes)
            self.found += [str(named[key]) for key in ("src", "href") if key in named]

    links = Links()
    links.feed(text)
    assert links.found and all(link.startswith(("#", "data:image/webp")) for link in links.found)


def test_pictures_are_shrunk_and_a_broken_one_and_one_of_no_record_are_named(
    results: Path, records: list[RunRecord]
) -> None:
    found, warnings = find_pictures(results, records)
    assert [(picture.title, picture.width) for picture in found] == [
        ("toy_data / toy_net: burst, T=2", report_pictures.PICTURE_WIDTH)
    ]
    orphan, broken = warnings
    assert "of_no_record.png belongs to no record here; delete it" in orphan
    assert "is no picture" in broken and "-burst-" in broken
    ran = CliRunner().invoke(main, ["report", "--results", str(results)])
    assert orphan in ran.stderr and orphan not in ran.stdout


def test_a_task_that_no_record_has_a_picture_of_shows_the_documentations(
    results: Path, records: list[RunRecord], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    folder = tmp_path / "docs" / "pictures"
    folder.mkdir(parents=True)
    for name in ("boxes.png", "masks.png", "recordings.png", "plot.png"):
        Image.new("RGB", (20, 30), "red").save(folder / name)
    listed = {"segmentation": "masks.png", "detection": "boxes.png", "events": "recordings.png"}
    (folder / "tasks.json").write_text(json.dumps(listed))
    monkeypatch.setattr(report_pictures, "CHECKOUT", tmp_path)
    detected = records[0].model_copy(update={"task": "detection"})
    found, _ = find_pictures(results, [*records, detected])
    assert [picture.title for picture in found] == [
        "toy_data / toy_net: burst, T=2",  # of the task `events`, so the documentation's is not
        "detection, an example of the documentation",
    ]
    found, _ = find_pictures(tmp_path, records)
    assert [picture.title for picture in found] == ["events, an example of the documentation"]


def test_every_task_with_committed_records_has_a_picture_in_the_documentation() -> None:
    pictures = CHECKOUT / "docs" / "pictures"
    listed = json.loads((pictures / "tasks.json").read_text(encoding="utf-8"))
    paths = (CHECKOUT / "results" / "records").glob("*.json")
    starts = [path.read_text(encoding="utf-8")[:500] for path in paths]
    found = [re.search(r'"task": "(\w+)"', start) for start in starts]
    assert {task[1] for task in found if task} == set(listed) and all(found)
    for name in listed.values():
        assert report_pictures.shrink(pictures / name, name).width > 300


def test_a_page_that_grows_too_big_leaves_out_layers_then_pictures_and_says_so(
    results: Path, page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(report, "LIMIT_BYTES", page.stat().st_size - 1)
    out = tmp_path / "small.html"
    written = report.write_report(results, out)
    assert written.size_bytes == out.stat().st_size <= report.LIMIT_BYTES
    assert any("first seed" in note for note in written.notes)
    runs = unpacked(out.read_text(encoding="utf-8"))["runs"]
    assert "sites" in runs["burst2s00000000a"] and "sites" not in runs["burst2s10000000b"]
    monkeypatch.setattr(report, "LIMIT_BYTES", 1)
    notes = report.write_report(results, out).notes
    assert "no pictures fit" in notes and "larger than" in notes[-1]
    assert "<img" not in out.read_text(encoding="utf-8").partition("<script")[0]


def test_the_libraries_in_the_page_are_those_that_the_readme_names() -> None:
    listed = (VENDOR / "README.md").read_text(encoding="utf-8")
    scripts = sorted(VENDOR.glob("*.js"))
    assert [path.name for path in scripts] == ["d3.min.js", "plot.min.js"]
    for path in scripts:
        (line,) = [line for line in listed.splitlines() if line.startswith(f"| `{path.name}`")]
        assert hashlib.sha256(path.read_bytes()).hexdigest() in line
        assert path.with_name(f"LICENSE.{path.name.split('.')[0]}").is_file()
        assert path.stat().st_size < 300_000


def test_the_command_writes_the_page_beside_the_records(results: Path, tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["report", "--results", str(results)])
    assert ran.exit_code == 0, ran.output
    assert f"wrote {results / 'report.html'} (0." in ran.output
    runs = unpacked((results / "report.html").read_text(encoding="utf-8"))
    assert runs["results"] == str(results)  # enters the command that runs a row again
    (tmp_path / "records").mkdir()
    for words, sentence in (
        (["--results", str(tmp_path)], "no record to show; run `adacal matrix embedded` first"),
        (
            ["--results", str(results), "--out", "/proc/pages/page.html"],
            "name another file with --out",
        ),
    ):
        failed = CliRunner().invoke(main, ["report", *words])
        assert failed.exit_code == 2 and sentence in failed.output, failed.output


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium")
def test_a_browser_sorts_filters_and_shows_where_a_row_comes_from(
    page: Path, tmp_path: Path
) -> None:
    text = page.read_text(encoding="utf-8")
    driven = tmp_path / "driven.html"
    driven.write_text(text.replace("</body>", f"<script>{DRIVER}</script></body>"))
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
        f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=10000",
        "--enable-logging=stderr", "--window-size=1280,900", f"file://{driven}",
    ]  # fmt: skip
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    console = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    assert not console, console
    found = re.search(r'<pre id="seen">(.*?)</pre>', ran.stdout, re.DOTALL)
    assert found, ran.stdout[-2000:] + ran.stderr[-2000:]
    seen = json.loads(html.unescape(found[1]))
    assert sorted(seen["start"]) == ["ann", "burst", "burst", "light", "quantized_ann"]
    assert seen["dots"] > 5
    assert seen["rising"] == ["1.000", "1.500", "3.000", "4.000", "11.000"]  # numbers, not words
    assert seen["falling"] == seen["rising"][::-1]
    assert seen["sorted"] == "ascending" and seen["focus"] == "energy"
    assert seen["filtered"] == ["burst", "burst"] and seen["count"] == "2 of 5 rows"
    assert seen["none"] == []
    assert seen["open"] and seen["closed"] and seen["seed"] == "seed 1"
    assert "adacal verify burst2s00000000a" in seen["run"] and "toy_data:0123456789" in seen["run"]
    assert "plug-instoys (no package; sha256 abababababab): task toy_task" in seen["run"]
    assert f"torchvision {metadata.version('torchvision')}" in seen["run"]
    assert seen["figures"] >= 5  # φ, ratio, rate, after each step, exits
    assert "set for all 2 steps: step t of this run is not a run at T=t" in seen["run"]
    assert seen["other"] == ["light", "burst"]  # by name, falling, T=2 only
    # The curves: few methods are all drawn in full, of many the front and each one's best row.
    assert seen["few"][0] == [0, 4] and seen["few"][1].startswith("Drawn in full: every row.")
    assert seen["crowd"][0] == [1, 3]  # burst at T=4 is neither
    assert "the Pareto front and the best row of each method; the rest is faint" in seen["crowd"][1]
    assert seen["lit"] == [[3, 1], "true", "light", "light", ["light"]]
    assert seen["both"] == [1, 3] and seen["cut"] == [0, 1]
    assert seen["cleared"] == [seen["crowd"][0], None] and seen["every"] == [0, 4]
    hidden, shown, focus, rows, link, again = seen["apart"]
    assert (hidden, shown, focus, again) == (True, False, "apart-title", True)
    assert link == "https://arxiv.org/abs/2106.06984"
    assert len(rows) == 2 and "80.0085.005.00" in rows[0] and "their bursts" in rows[0]
    assert seen["all"] == 3 and len(seen["found"][0]) == 1 and EVIL in seen["found"][0][0]
    assert seen["found"][1].startswith("1 rows, 0 of them beside one measured here")
    assert seen["found"][2] == text.count("<img src=")
    assert seen["order"] == ["80.00", "70.00", "12.50"] and seen["ours"] == "burst, T=2"
    assert seen["linked"] == "toy_data / toy_net (events)burst, T=4"  # from the run alone
    assert seen["images"] == text.count("<img src=")  # the hostile name made none
