"""The live page: what it answers, what it refuses, and in a real Chromium a new epoch without a reload."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from results.figures.configuration_styles import sweep_styles
from results.ledger.arrays import load_sweep
from results.ledger.ledger import Ledger
from results.ledger.queries import recorded_run
from search_spaces import Protocol, Run
from search_spaces.errors import SpecError
from sweep.cli.live_page import serve_report
from sweep.folder.paths import SweepFolder
from sweep.live.curves import curves_json
from sweep.live.server import LiveServer, live_page
from tests.builders import attempt_of, row_of, two_by_two_runs
from tests.chromium import load
from tests.results.ledger_sweeps import ADAM, MOMENTUM, climb, write_ledger
from tests.results.report_pages import a_page

PATIENCE_SECONDS = 30


@pytest.fixture
def mine(tmp_path: Path) -> SweepFolder:
    folder = SweepFolder(tmp_path / "runs", "mine")
    folder.create()
    write_ledger(folder.ledger, {MOMENTUM: [climb(30, 4)], ADAM: [climb(20, 4)[:2]]}, epochs=4)
    return folder


@pytest.fixture
def server(mine: SweepFolder) -> Iterator[LiveServer]:
    with LiveServer(mine, 0, a_page) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def get(server: LiveServer, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{server.server_port}" if host is None else host)
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, dict(answer.getheaders())


def test_the_page_the_script_and_the_curves_are_served(server: LiveServer) -> None:
    code, page, headers = get(server, "/")
    assert code == 200
    assert 'id="live"' in page
    assert "connect-src 'self'" in page
    assert headers["Cache-Control"] == "no-store"
    assert get(server, "/live.js")[0] == 200
    curves = json.loads(get(server, "/curves.json")[1])
    assert (curves["trained"], curves["planned"], curves["state"]) == (6, 8, "not running")
    assert [one["label"] for one in curves["configurations"]] == ["SGD lr=0.01 momentum=0.9", "Adam lr=0.001"]
    assert curves["configurations"][1]["runs"] == [climb(20, 4)[:2]]


def test_a_line_has_the_colour_and_the_line_style_of_the_figures(mine: SweepFolder) -> None:
    scheduled = replace(ADAM, scheduler="CosineAnnealingLR", scheduler_params={"T_max": 4, "eta_min": 0})
    with Ledger.create_or_open(mine.ledger) as ledger:
        runs = [Run(one, 0, Protocol(), "d" * 16) for one in (MOMENTUM, ADAM, scheduled)]
        ledger.plan(runs, 4, data_name="cifar100", synthetic=False)
    found = {one["label"]: one for one in json.loads(curves_json(mine))["configurations"]}
    styles = sweep_styles(load_sweep(mine.ledger))
    assert set(found) == set(styles)
    assert {label: one["colour"] for label, one in found.items()} == {
        label: style.color for label, style in styles.items()
    }
    dashed = {label for label, one in found.items() if one["dash"]}
    assert dashed == {label for label, style in styles.items() if style.linestyle != "-"}
    assert len(dashed) == 1


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1", "127.0.0.1:1", "localhost.evil"])
def test_another_host_name_is_refused(server: LiveServer, host: str) -> None:
    """A site whose name is made to point to 127.0.0.1 sends its own name."""
    code, text, _ = get(server, "/curves.json", host)
    assert code == 403
    assert "SGD" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/ledger.sqlite", "/sweep.toml", "/../sweep.toml", "/..%2fsweep.toml", "//etc/passwd", "/runs/", "/tables/",
        "/index.html", "/live.js/..", "/%2e%2e/%2e%2e/etc/passwd", "http://127.0.0.1/",
    ],
)  # fmt: skip
def test_no_other_path_is_served(server: LiveServer, path: str) -> None:
    assert get(server, path)[0] == 404


def test_only_reading_is_answered(server: LiveServer) -> None:
    assert get(server, "/", method="POST")[0] == 501
    assert server.server_address[0] == "127.0.0.1"


def test_a_port_in_use_is_one_line(server: LiveServer, mine: SweepFolder) -> None:
    with pytest.raises(SpecError, match=r"^--port: \d+ cannot be used .*--port 0 takes a free one$"):
        LiveServer(mine, server.server_port, a_page)


def test_the_page_is_made_again_only_after_a_change(mine: SweepFolder) -> None:
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return a_page()

    with LiveServer(mine, 0, make) as server:
        server.page()
        server.page()
        assert len(made) == 1
        add_epoch(mine)
        server.page()
        assert len(made) == 2


def test_ctrl_c_ends_with_one_line(
    mine: SweepFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: LiveServer, poll_interval: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LiveServer, "serve_forever", interrupted)
    serve_report(mine, 0, None, open_it=False)
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith("mine: http://127.0.0.1:")
    assert last == "ended"


def test_the_policy_of_the_report_is_found() -> None:
    """The report's own policy would forbid the requests of the live section."""
    assert "script-src 'self' 'unsafe-inline'; connect-src 'self';" in live_page(a_page())


def add_epoch(folder: SweepFolder) -> None:
    """Record another epoch of a run of other configurations, as the driver does."""
    runs = two_by_two_runs()
    with Ledger.create_or_open(folder.ledger) as ledger:
        ledger.plan(runs, 4, data_name="cifar100", synthetic=False)
        before = len(ledger.epochs_recorded())
        ledger.record([attempt_of(runs, pack_id="3" * 16)], [row_of(runs[0], before, val_acc=12.5)], {})


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.slow  # starts Chromium
def test_a_new_epoch_appears_without_a_reload_and_no_request_leaves_loopback(
    server: LiveServer, mine: SweepFolder, browser: Any
) -> None:
    def trained() -> str:
        return str(browser.execute_script("return document.getElementById('live-state').dataset.trained || ''"))

    load(browser, server.address, 900)
    until(lambda: trained() == "6")
    browser.execute_script("window.kept = true")
    lines = len(browser.find_elements("css selector", "#live-chart polyline"))
    with Ledger.create_or_open(mine.ledger) as ledger:
        ((run_id,),) = ledger.rows("SELECT run_id FROM epochs GROUP BY run_id HAVING COUNT(*) = 2", {})
        run = recorded_run(ledger, run_id)
        ((attempt_id, pack_id),) = ledger.rows("SELECT attempt_id, pack_id FROM attempts", {})
        attempt = replace(attempt_of([run]), attempt_id=attempt_id, pack_id=pack_id)
        ledger.record([attempt], [replace(row_of(run, 3, val_acc=15.0), attempt_id=attempt_id)], {})
    until(lambda: trained() == "7")
    assert browser.execute_script("return window.kept") is True  # the same page
    assert len(browser.find_elements("css selector", "#live-chart polyline")) == lines
    assert "7 of 8 run-epochs" in browser.find_element("id", "live-state").text
    assert "15.00 % after 3 epochs" in browser.find_element("id", "live-chart").text
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]
    assert f"{server.address}curves.json" in asked
    assert [url for url in asked if not url.startswith((server.address, "data:"))] == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.slow  # starts Chromium
@pytest.mark.parametrize("width", [400, 900])
def test_the_numbers_of_the_live_curves_are_readable(server: LiveServer, browser: Any, width: int) -> None:
    """They have 12 units of the viewBox."""
    load(browser, server.address, width)
    until(lambda: bool(browser.find_elements("css selector", "#live-chart svg[role=img]")))
    scale = "const s = document.querySelector('#live-chart svg'); return s.clientWidth / s.viewBox.baseVal.width"
    assert 12 * browser.execute_script(scale) >= 11
