"""The docs say what is: their code runs, the functions and files they name exist."""

from __future__ import annotations

import ast
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

CHECKOUT = Path(__file__).resolve().parents[2]
GUIDES = sorted((CHECKOUT / "docs" / "how-to").glob("*.md"))
PAGES = [*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/**/*.md")]


def blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def execute(path: Path) -> types.ModuleType:
    """Runs all Python blocks of a page in order, in one module."""
    module = types.ModuleType("page_" + path.stem.replace("-", "_"))
    sys.modules[module.__name__] = module
    for number, code in enumerate(blocks(path)):
        if code.startswith('"""'):  # a file of its own: its docstring is the module's
            module.__doc__ = ast.get_docstring(ast.parse(code), clean=False)
        exec(compile(code, f"{path.name}, block {number + 1}", "exec"), module.__dict__)
    return module


@pytest.fixture
def clean_registries() -> Iterator[None]:
    """Forgets what a page registered, so that contract tests do not see it."""
    from adacal.methods.base import METHODS, load_methods
    from adacal.suite.registry import DATASETS, MODELS, TASKS, load_tasks

    load_methods()
    load_tasks()
    registries = (METHODS, DATASETS, MODELS, TASKS)
    before = [dict(registry.module_dict) for registry in registries]
    yield
    for registry, known in zip(registries, before, strict=True):
        for name in set(registry.module_dict) - set(known):
            del registry.module_dict[name]
    for name in [name for name in sys.modules if name.startswith("page_")]:
        del sys.modules[name]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
@pytest.mark.usefixtures("clean_registries")
def test_the_code_of_a_how_to_runs(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADACAL_CACHE", str(tmp_path / "cache"))
    assert len(blocks(guide)) >= 3
    execute(guide)


def test_the_readme_converts_a_network_in_five_lines(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(64, 8, generator=generator)
    ann = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    labels = ann(inputs).argmax(1)
    names = {
        "ann": ann,
        "example_input": inputs[:2],
        "batches": [inputs],
        "labelled_batches": [(inputs, labels)],
        "x": inputs[:5],
    }
    first, second = blocks(CHECKOUT / "README.md")[:2]
    exec(first, names)
    assert names["y"].shape == (5, 4)
    exec(second, names)
    assert names["ys"].shape == (4, 5, 4)
    assert torch.allclose(names["network"](names["x"]), names["ys"][-1], atol=1e-6)


def test_the_page_on_rate_distortion_keeps_to_its_budget_and_its_drop() -> None:
    import adacal

    generator = torch.Generator().manual_seed(0)
    ann = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    names = {"adacal": adacal, "ann": ann, "batches": [torch.rand(64, 8, generator=generator)]}
    (code,) = blocks(CHECKOUT / "docs" / "rate-distortion.md")
    exec(code, names)
    assert names["within"]["cost"] <= 1.01 * 20e6
    assert names["cheapest"]["drop"] <= 0.5 or not names["cheapest"]["within_limit"]
    assert names["network"].T in [each.T for each in names["tried"]] == [1, 2, 4]


def test_the_table_on_rate_distortion_is_what_the_records_give(monkeypatch) -> None:
    monkeypatch.syspath_prepend(CHECKOUT / "docs")
    import rate_distortion_page as page

    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text) == text and text.count("rate-distortion, µJ") == 1
    assert page.PICTURE.is_file()


def test_the_page_on_retrained_networks_trains_and_converts_as_it_says() -> None:
    import adacal

    images = torch.rand(32, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    names = {"adacal": adacal, "images": images}
    (code,) = blocks(CHECKOUT / "docs" / "retrained-networks.md")
    torch.manual_seed(0)
    exec(code, names)
    exact, spikes = names["network"].ann(images), names["network"](images)
    assert torch.equal(exact, names["ann"](images))
    assert float((exact - spikes).square().mean()) < 0.2 * float(exact.var())


def test_the_tables_on_retrained_networks_are_what_the_records_give(monkeypatch) -> None:
    monkeypatch.syspath_prepend(CHECKOUT / "docs")
    import retrained_page as page

    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text) == text and text.count("| set, network |") == 2
    assert text.count("lenet_qcfs4 | qcfs |") == 2
    assert page.PICTURE.is_file()


def test_the_table_on_when_spikes_pay_is_what_the_records_give(monkeypatch) -> None:
    monkeypatch.syspath_prepend(CHECKOUT / "docs")
    import when_spikes_pay_page as page

    text = page.PAGE.read_text(encoding="utf-8")
    assert page.written(text) == text and text.count("= ANN, memory") == 1
    assert text.count("So: **") == text.count("Measured at T=4 against") == 1


def test_a_line_through_energies_is_found_again_and_where_it_meets_a_price(monkeypatch) -> None:
    monkeypatch.syspath_prepend(CHECKOUT / "docs")
    import when_spikes_pay_page as page

    sites = [SimpleNamespace(kind="burst", shape=[4, 5]), SimpleNamespace(kind="mean", shape=[9])]
    records = [
        SimpleNamespace(
            sites=sites,
            energy=SimpleNamespace(spikes=20 * s, energy_pj={"memory": 7 + 3 * s + 2 * T}),
            timesteps=SimpleNamespace(mean=T),
        )
        for s, T in ((0.5, 1), (1.0, 2), (2.0, 4), (0.25, 8))
    ]
    sure, line = page.fitted(records, "memory")
    assert sure == pytest.approx(1) and line == pytest.approx([7, 3, 2])
    assert page.meets(line, 7 + 2 * 4 + 3 * 0.5) == pytest.approx(0.5)
    assert page.meets(line, 1.0) is None


def test_what_follows_when_spikes_pay_names_the_ends_of_the_table(monkeypatch) -> None:
    monkeypatch.syspath_prepend(CHECKOUT / "docs")
    import when_spikes_pay_page as page

    def network(name: str, ann: float | None, memory: float, five: float, late: float):
        levels, with_memory = {4: five, 8: five, 16: five}, {4: late, 8: late, 16: late}
        return page.Network(name, [0.1], 1.0, ann, memory, levels, with_memory)

    found = [network("a", 5.0, 0.9, 0.3, 0.25), network("b", 1.0, 0.2, 0.5, 0.49)]
    said = " ".join(page.conclusion([*found, network("c", None, 0.5, 0.4, 0.4)]).split())
    assert "below 1.00 (b) to 5.00 (a) spikes a neuron" in said
    assert "memory counted below 0.20 (b) to 0.90 (a)." in said
    assert said.count("0.30 (a) to 0.50 (b) against one of") == 3
    moved = " ".join(page.memory_counts(found).split())
    assert "is 0.30 (a) to 0.50 (b) without memory and 0.25 (a) to 0.49 (b) with it" in moved
    assert moved.endswith("moving by more than 0.05.")


def test_functions_named_in_the_architecture_page_exist() -> None:
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`([\w/]+\.py):(\w+)`", text)
    assert len(named) >= 8
    for file, function in named:
        tree = ast.parse((CHECKOUT / file).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if hasattr(node, "name")}
        assert function in defined, f"docs/architecture.md names {file}:{function}"


def test_files_named_in_the_architecture_page_exist() -> None:
    text = (CHECKOUT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for file in re.findall(r"`([\w/]+\.py)[:`]", text):
        assert (CHECKOUT / file).is_file(), f"docs/architecture.md names {file}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_make_target_named_in_the_docs_exists() -> None:
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = re.findall(r"^make ([a-z][a-z-]*)", text, re.MULTILINE)
        named += re.findall(r"`make ([a-z][a-z-]*)", text)
        assert set(named) <= targets, f"{page.name} names {set(named) - targets}"


def test_the_licence_is_the_apache_licence_word_for_word() -> None:
    import hashlib

    digest = hashlib.sha256((CHECKOUT / "LICENSE").read_bytes()).hexdigest()
    assert digest == "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
