"""The report in a browser: keys, clicks, sorting, narrow screens, nothing from elsewhere."""

import re

import numpy as np
import pytest
from headless_browser import browser_page

from qfa_tf.cost import CostModel
from qfa_tf.search import Evaluation, ExactNSGA2, search, write_report
from qfa_tf.search.report import ReportDetails
from qfa_tf.search.report_chart import Series
from tflite_tools.runtimes.browser import find_chromium

pytestmark = [
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed"),
    pytest.mark.xdist_group("browser"),
]
CODES = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowRight": 39}
SELECTED = "document.querySelector('#chart .selected').dataset.member"
ROW = "document.querySelector('#front tbody tr.selected').dataset.row"
FOCUSED = "document.activeElement.dataset.member"


def press(page, key):
    page.press(key, CODES[key])


class Judge:
    """More accurate where a subnet costs more, on 100 images."""

    checkpoint_key, calibration_key, split = "step-8-aaaaaaaaaaaa", "k", "search_validation"
    images, calibration_images = 100, 10

    def __init__(self, space):
        self._cost = CostModel(space)
        self._most = self._cost.evaluate(space.encode(space.largest(bits=8))[None])

    def evaluate(self, genomes, **limits):
        shares = self._cost.evaluate(genomes)["mflops_8bit"] / self._most["mflops_8bit"]
        right = [int(30 + 65 * share**0.3) for share in shares]
        answers = [(np.arange(100) < count).astype(np.uint8).tobytes() for count in right]
        return [
            Evaluation(count / 100, 0.5, 100, answer)
            for count, answer in zip(right, answers, strict=True)
        ]


@pytest.fixture(scope="module")
def report(small_space, tmp_path_factory):
    """Path of a page with two searches, and the first one's result."""
    judge = Judge(small_space)
    found = [
        search(small_space, CostModel(small_space), judge, strategy=ExactNSGA2(16, 4), seed=seed)
        for seed in (0, 1)
    ]
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(found[0], path, ReportDetails(others=[Series("another", found[1])]))
    return path, found[0]


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    with browser_page(tmp_path_factory.mktemp("profile")) as page:
        page.resize(1100, 900)
        page.open(report[0].as_uri())
        page.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")
        assert page.evaluate("typeof select") == "function"  # the script ran to its end
        yield page


def test_nothing_comes_from_elsewhere(report):
    text = report[0].read_text()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert not re.findall(r"@import|<link|url\(", text)


def test_arrow_keys_walk_along_the_front(page, report):
    last = len(report[1].front) - 1
    assert last >= 3
    page.evaluate("document.querySelector('#chart [data-member]').focus()")
    assert page.evaluate(FOCUSED) == "0"
    press(page, "ArrowRight")
    assert (page.evaluate(FOCUSED), page.evaluate(SELECTED), page.evaluate(ROW)) == ("1", "1", "1")
    assert "front 1" in page.evaluate("document.getElementById('tip').textContent")
    press(page, "ArrowLeft")
    press(page, "ArrowLeft")  # there is nothing before the first
    assert page.evaluate(FOCUSED) == "0"
    for _ in range(last + 2):
        press(page, "ArrowRight")
    assert page.evaluate(FOCUSED) == str(last)


def test_keys_open_a_member(page):
    for key, member in (("Enter", "2"), (" ", "3")):
        page.evaluate(f"document.querySelector('#chart [data-member=\"{member}\"]').focus()")
        opened_before = page.evaluate(f"document.getElementById('member-{member}').open")
        press(page, key)
        assert not opened_before
        assert page.evaluate(f"document.getElementById('member-{member}').open")
        assert page.evaluate(SELECTED) == member


def test_the_tab_key_reaches_points_and_buttons(page):
    page.evaluate("document.querySelector('.legend input').focus()")
    reached = []
    for _ in range(3):
        press(page, "Tab")
        reached.append(
            page.evaluate(
                "(document.activeElement.dataset.member !== undefined && 'point')"
                " || document.activeElement.tagName"
            )
        )
    assert reached == ["point", "BUTTON", "BUTTON"]  # one stop for the whole front


def test_clicks_select_and_hovering_tells(page):
    page.click('#chart [data-member="1"]')
    assert page.evaluate(SELECTED) == "1"
    assert page.evaluate("document.getElementById('member-1').open")
    page.click('#front tbody tr[data-row="0"]')
    assert page.evaluate(SELECTED) == "0"
    page.hover('#chart [data-member="2"]')
    assert "front 2" in page.evaluate("document.getElementById('tip').textContent")


def test_columns_sort_both_ways(page):
    column = "[...document.querySelectorAll('#front tbody tr')].map(row => row.dataset.row)"
    accuracy = (
        "[...document.querySelectorAll('#front tbody tr')]"
        ".map(row => Number.parseFloat(row.cells[1].textContent))"
    )
    page.click("#front th:nth-child(2) button")
    values = page.evaluate(accuracy)
    assert values == sorted(values)
    page.click("#front th:nth-child(2) button")
    assert page.evaluate(accuracy) == sorted(values, reverse=True)
    page.click("#front th:first-child button")
    assert page.evaluate(column) == [str(number) for number in range(len(values))]


def test_other_searches_can_be_hidden(page):
    shown = "getComputedStyle(document.querySelector('[data-search=\"1\"]')).display"
    before = page.evaluate(shown)
    page.click("[data-toggle]")
    assert (before != "none", page.evaluate(shown)) == (True, "none")
    page.click("[data-toggle]")
    assert page.evaluate(shown) == before


def test_narrow_screens_need_no_sideways_scrolling(page):
    page.resize(360, 700)
    try:
        width = page.evaluate("document.documentElement.scrollWidth")
    finally:
        page.resize(1100, 900)
    assert width <= 360
