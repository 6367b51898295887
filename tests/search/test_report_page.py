"""The report in a browser: keys, clicks, sorting, narrow screens, nothing from elsewhere."""

import re

import numpy as np
import pytest
from chromium import find_chromium, opened

from qfa_tf.cost import CostModel
from qfa_tf.search import Evaluation, ExactNSGA2, search, write_report
from qfa_tf.search.report import ReportDetails
from qfa_tf.search.report_chart import Series

pytestmark = [
    pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed"),
    pytest.mark.xdist_group("browser"),
]
SELECTED = "document.querySelector('#chart .selected').dataset.member"
ROW = "document.querySelector('#front tbody tr.selected').dataset.row"
FOCUSED = "document.activeElement.dataset.member"


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
    with opened(report[0], tmp_path_factory.mktemp("profile")) as page:
        page.resize(1100, 900)
        yield page
    assert page.errors == []


def test_nothing_comes_from_elsewhere(report):
    text = report[0].read_text()
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert not re.findall(r"@import|<link|url\(", text)


def test_arrow_keys_walk_along_the_front(page, report):
    last = len(report[1].front) - 1
    assert last >= 3
    page.value("document.querySelector('#chart [data-member]').focus()")
    assert page.value(FOCUSED) == "0"
    page.press("ArrowRight")
    assert (page.value(FOCUSED), page.value(SELECTED), page.value(ROW)) == ("1", "1", "1")
    assert "front 1" in page.value("document.getElementById('tip').textContent")
    page.press("ArrowLeft")
    page.press("ArrowLeft")  # there is nothing before the first
    assert page.value(FOCUSED) == "0"
    for _ in range(last + 2):
        page.press("ArrowRight")
    assert page.value(FOCUSED) == str(last)


def test_keys_open_a_member(page):
    for key, member in (("Enter", "2"), (" ", "3")):
        page.value(f"document.querySelector('#chart [data-member=\"{member}\"]').focus()")
        opened_before = page.value(f"document.getElementById('member-{member}').open")
        page.press(key)
        assert not opened_before
        assert page.value(f"document.getElementById('member-{member}').open")
        assert page.value(SELECTED) == member


def test_the_tab_key_reaches_points_and_buttons(page):
    page.value("document.querySelector('.legend input').focus()")
    reached = []
    for _ in range(3):
        page.press("Tab")
        reached.append(
            page.value(
                "(document.activeElement.dataset.member !== undefined && 'point')"
                " || document.activeElement.tagName"
            )
        )
    assert reached == ["point", "BUTTON", "BUTTON"]  # one stop for the whole front


def test_clicks_select_and_hovering_tells(page):
    page.click('#chart [data-member="1"]')
    assert page.value(SELECTED) == "1"
    assert page.value("document.getElementById('member-1').open")
    page.click('#front tbody tr[data-row="0"]')
    assert page.value(SELECTED) == "0"
    page.move('#chart [data-member="2"]')
    assert "front 2" in page.value("document.getElementById('tip').textContent")


def test_columns_sort_both_ways(page):
    column = "[...document.querySelectorAll('#front tbody tr')].map(row => row.dataset.row)"
    accuracy = (
        "[...document.querySelectorAll('#front tbody tr')]"
        ".map(row => Number.parseFloat(row.cells[1].textContent))"
    )
    page.click("#front th:nth-child(2) button")
    values = page.value(accuracy)
    assert values == sorted(values)
    page.click("#front th:nth-child(2) button")
    assert page.value(accuracy) == sorted(values, reverse=True)
    page.click("#front th:first-child button")
    assert page.value(column) == [str(number) for number in range(len(values))]


def test_other_searches_can_be_hidden(page):
    shown = "getComputedStyle(document.querySelector('[data-search=\"1\"]')).display"
    before = page.value(shown)
    page.click("[data-toggle]")
    assert (before != "none", page.value(shown)) == (True, "none")
    page.click("[data-toggle]")
    assert page.value(shown) == before


def test_narrow_screens_need_no_sideways_scrolling(page):
    page.resize(360, 700)
    try:
        width = page.value("document.documentElement.scrollWidth")
    finally:
        page.resize(1100, 900)
    assert width <= 360
