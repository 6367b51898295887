"""What the steps of two versions say about the official release."""

import step_versions


def turn(seconds, processor):
    return {"seconds": seconds, "processor_seconds": processor, "start_seconds": 9, "peak_gib": 2}


def test_ratios_are_taken_turn_by_turn():
    found = {
        "earlier": [turn(4.0, 6.0), turn(8.0, 12.0), turn(4.0, 6.0)],
        "this": [turn(2.0, 4.0), turn(4.0, 6.0), turn(4.0, 3.0)],
    }
    earlier, this = step_versions.rows_of(found)
    assert (earlier["seconds"], this["seconds"]) == (4.0, 4.0)
    assert earlier["seconds_earlier_by_this"] == 1.0
    assert this["seconds_earlier_by_this"] == 2.0  # not the 1.0 of the medians
    assert this["seconds_official_by_this"] == round(8.69 / 2.91 * 2.0, 2)
    assert this["processor_seconds_earlier_by_this"] == 2.0
    assert (this["seconds_there"], this["start_seconds_there"]) == (1.46, 34.7)
    assert earlier["seconds_there"] == 2.91
