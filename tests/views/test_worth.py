"""What parts are worth: each number stands in its table, and the most missed part is named."""

from contextlab.views import worth_figure


def test_the_most_missed_part_is_named(readable):
    psp = {"1 x 1": {"G": 53.0, "C": -0.2}, "2 x 2": {"G": 0.1, "C": 25.0}}
    figure, most = worth_figure({"PSP": psp, "ASPP": {"up": {"A": 60.0}, "left": {"A": -1.0}}})
    assert most == {"PSP": {"G": "1 x 1", "C": "2 x 2"}, "ASPP": {"A": "up"}}
    written = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert written == [["53", "0", "0", "25"], ["60", "−1"]]
    readable(figure)
