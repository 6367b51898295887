"""The style and the script of a report; a page needs nothing else."""

STYLE = """
:root { color-scheme: light; --line: #d5dae1; --soft: #5b6572 }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem;
  color: #1c232b; background: #fff }
h1 { font-size: 1.5rem; margin: .5rem 0 } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px; margin: .5rem 0 }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right;
  white-space: nowrap }
th:first-child, td:first-child, table.settings td { text-align: left }
table.settings td { white-space: normal; overflow-wrap: anywhere }
th button { font: inherit; font-weight: 600; border: 0; background: none; padding: 0;
  cursor: pointer }
th[aria-sort=ascending] button::after { content: " \\2191" }
th[aria-sort=descending] button::after { content: " \\2193" }
tr.chosen { background: #fdeaea } tr.selected { outline: 2px solid #1f5fa8; outline-offset: -2px }
#front tbody tr { cursor: pointer }
td.better { background: #dff2df } td.worse { background: #f9dcd8 }
span.bits { border: 1px solid #888; border-radius: 3px; margin-right: .5rem; padding: 0 .4rem;
  white-space: nowrap }
img { max-width: 100% }
pre { overflow-x: auto; background: #f5f7f9; padding: .6rem }
details { border-bottom: 1px solid var(--line); padding: .3rem 0 }
summary { cursor: pointer }
#chart { width: 100%; height: auto; min-width: 20rem; border: 1px solid var(--line);
  font-size: 12px }
#chart .grid { stroke: #e8ebef; fill: none } #chart .tick { text-anchor: middle; fill: var(--soft) }
#chart .tick.end { text-anchor: end } #chart .axis { text-anchor: middle; font-weight: 600 }
#chart .label { text-anchor: end; fill: #2a7d4f }
#chart .candidate { fill: #bfc6cf } #chart .front { fill: none; stroke: var(--colour) }
#chart .interval { stroke: var(--colour); opacity: .45; stroke-width: 2 }
#chart .member { fill: #fff; stroke: var(--colour); stroke-width: 2; cursor: pointer }
#chart .member.tied { fill: var(--colour) } #chart .member.chosen { stroke: #b3261e }
#chart .member.selected, #chart .member:focus, #chart .exported:focus { outline: none;
  stroke: #000; stroke-width: 3 }
#chart .reference { fill: #2a7d4f } #chart .exported path { fill: #f2b705; stroke: #4d3b00 }
#tip { min-height: 3em; color: var(--soft) }
.legend label, .legend > span { display: inline-block; margin-right: 1rem }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .3em; border-radius: 50% }
@media (max-width: 40rem) { body { padding: .6rem } h1 { font-size: 1.2rem }
  #chart { font-size: 19px } #chart .candidate { display: none } }
@media print { .legend input { display: none } }
"""

SCRIPT = """
"use strict";
const tip = document.getElementById("tip");
const points = [...document.querySelectorAll("[data-member]")];
const rows = [...document.querySelectorAll("#front tbody tr")];
function tell(element) { tip.textContent = element.getAttribute("aria-label"); }
// The front is one stop of the Tab key; the arrow keys move along it.
function stop(point, here) { point.setAttribute("tabindex", here ? "0" : "-1"); }
function select(member, open) {
  for (const point of points) {
    point.classList.toggle("selected", point.dataset.member === member);
    stop(point, point.dataset.member === member);
  }
  for (const row of rows) row.classList.toggle("selected", row.dataset.row === member);
  const point = points.find((one) => one.dataset.member === member);
  if (point) tell(point);
  const section = document.getElementById("member-" + member);
  if (open && section) { section.open = true; section.scrollIntoView({ block: "nearest" }); }
}
for (const element of document.querySelectorAll("#chart [aria-label]")) {
  element.addEventListener("mouseenter", () => tell(element));
  // A listener would make a stop of the Tab key of what is none.
  if (element.hasAttribute("tabindex")) element.addEventListener("focus", () => tell(element));
}
points.forEach((point, place) => {
  point.addEventListener("click", () => select(point.dataset.member, true));
  point.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 };
    if (event.key in steps) {
      const next = points[Math.min(points.length - 1, Math.max(0, place + steps[event.key]))];
      next.focus();
      select(next.dataset.member, false);
      event.preventDefault();
    } else if (event.key === "Enter" || event.key === " ") {
      select(point.dataset.member, true);
      event.preventDefault();
    }
  });
});
for (const row of rows) row.addEventListener("click", () => select(row.dataset.row, true));
for (const box of document.querySelectorAll("[data-toggle]")) {
  box.addEventListener("change", () => {
    const group = document.querySelector(`[data-search="${box.dataset.toggle}"]`);
    group.style.display = box.checked ? "" : "none";
  });
}
function number(text) {
  const value = Number.parseFloat(text.replaceAll(",", ""));
  return Number.isNaN(value) ? null : value;
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("th")];
  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const body = table.tBodies[0];
      const sorted = [...body.rows].sort((one, other) => {
        const [a, b] = [one, other].map((row) => row.cells[column].textContent);
        const [x, y] = [number(a), number(b)];
        const order = x === null || y === null ? a.localeCompare(b) : x - y;
        return ascending ? order : -order;
      });
      body.append(...sorted);
    });
  });
}
const chosen = document.querySelector("#chart .chosen[data-member]");
if (chosen) select(chosen.dataset.member, false);
else if (points.length) points.forEach((point, place) => stop(point, place === 0));
"""
