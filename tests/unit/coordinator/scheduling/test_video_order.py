"""Which video is cut next."""

from __future__ import annotations

import math

from framefleet.common.media import VideoInfo
from framefleet.coordinator.listed_video import ListedVideo
from framefleet.coordinator.scheduling import policy
from framefleet.coordinator.scheduling.rates import Rates
from framefleet.coordinator.scheduling.video_order import LEAST_LIMIT, UNKNOWN_FACTOR, Order
from framefleet.coordinator.state import Video
from tests.helpers.core_bench import info


def video(index: int, seconds: float, piece_s: float, *, known: bool = True) -> Video:
    """A video whose largest GOP takes ``piece_s`` seconds, of ``seconds`` altogether."""
    listed = ListedVideo.of(
        index=index, path=b"v%d" % index, name=f"v{index}", folder=f"v{index}", size_bytes=1
    )
    made = Video(listed=listed, info=info(10.0))
    made.rate = policy.DEFAULT_RATE if known else None
    made.remaining_px = seconds * policy.DEFAULT_RATE
    made.piece_px = piece_s * policy.DEFAULT_RATE
    return made


def order(*videos: Video) -> Order:
    made = Order(videos, Rates())
    for index in range(len(videos)):
        made.add(index)
    return made


def test_the_longest_comes_first_and_an_open_file_before_it() -> None:
    videos = [video(0, 10, 1), video(1, 30, 1), video(2, 20, 1)]
    made = order(*videos)
    assert made.choose(None, 5.0) == 1
    assert made.choose(2, 5.0) == 2
    videos[1].all_cut = True
    assert made.choose(None, 5.0) == 2
    videos[2].remaining_px = 0.0
    assert made.choose(None, 5.0) == 0


def test_what_cannot_be_cut_to_size_comes_before_all() -> None:
    made = order(video(0, 100, 1), video(1, 20, 8), video(2, 20, 4))
    assert made.choose(None, 10.0) == 0
    assert made.choose(None, 5.0) == 1
    assert made.choose(0, 5.0) == 1, "the open file gives way"
    assert made.choose(2, 3.0) == 2, "unless it is as coarse"


def test_what_was_never_measured_may_cost_more() -> None:
    made = order(video(0, 100, 1), video(1, 20, 2, known=False))
    assert made.choose(None, 2.0 * UNKNOWN_FACTOR + 0.1) == 0
    assert made.choose(None, 2.0 * UNKNOWN_FACTOR - 0.1) == 1


def test_the_doubtful_is_not_hidden_behind_what_is_known() -> None:
    made = order(video(0, 100, 3), video(1, 20, 2, known=False))
    assert made.choose(None, 4.0) == 1, "it may last up to 6 s, the other one 3 s"


def test_what_became_known_counts_by_its_own_rate() -> None:
    videos = [video(0, 100, 1), video(1, 20, 2, known=False), video(2, 20, 3, known=False)]
    made = order(*videos)
    assert made.choose(None, 5.0) == 2
    videos[2].rate = policy.DEFAULT_RATE
    assert made.choose(None, 5.0) == 1, "it lasts 3 s, the other one up to 6 s"
    videos[1].rate = policy.DEFAULT_RATE
    assert made.choose(None, 5.0) == 0
    assert made.choose(None, 2.5) == 2


def test_a_slow_host_gets_fine_pieces_only() -> None:
    made = order(video(0, 100, 6), video(1, 20, 1))
    assert made.choose_fine(None, 7.0) == 0
    assert made.choose_fine(1, 2.0) == 1
    assert made.choose_fine(None, 2.0) is None


def test_nothing_is_left_when_all_is_cut() -> None:
    videos = [video(0, 10, 1)]
    made = order(*videos)
    videos[0].all_cut = True
    assert made.choose(None, 1.0) is None
    assert made.choose(0, 1.0) is None
    assert not made


def test_what_is_over_does_not_stay() -> None:
    videos = [video(index, 10, 1 + index % 3) for index in range(5 * LEAST_LIMIT)]
    made = Order(videos, Rates())
    for index, each in enumerate(videos):
        made.add(index)
        each.all_cut = index % 100 > 0
    assert len(made._longest) < 2 * LEAST_LIMIT
    assert sum(map(len, made._coarsest.values())) < 2 * LEAST_LIMIT
    assert made.choose(None, 0.5) is not None


def test_the_largest_piece_of_a_video() -> None:
    def pieces(**changed: object) -> float:
        fields = {name: getattr(info(10.0), name) for name in VideoInfo.__struct_fields__}
        return policy.piece_s(VideoInfo(**{**fields, **changed}))

    assert pieces() == 1.0
    assert pieces(keyframes=[0, 1000, 6000]) == 5.0
    assert pieces(keyframes=[0, 1000]) == 9.0
    assert pieces(seekable=False) == math.inf
    assert pieces(duration_s=0.0) == math.inf
