"""What is known of a group of pictures while it is decoded: where its packets lie, and damage."""

from __future__ import annotations

from dataclasses import dataclass, field

from av.video.frame import VideoFrame


@dataclass(slots=True, eq=False)
class Gop:
    """What is known of one group of pictures: its packets' places in decoding order, and damage.

    Attributes:
        key_pts: pts of its keyframe; None for what precedes the first keyframe of a file.
        fed: packets handed to the decoder, or passed over, so far.
        damaged_at: place of the first error; None while there is none. Leading pictures do not count:
            nothing that follows refers to them.
        leading_damaged_at: the same for the leading pictures, which also suffer from the GOP before.
        follows_damage: the GOP before is damaged.
        precedes_damage: the leading pictures of the GOP behind, which refer to this one, may be damaged.
        has_leading: it has leading pictures.
        places: pts of packets whose frames may still come, and their places.
    """

    key_pts: int | None
    fed: int = 0
    damaged_at: int | None = None
    leading_damaged_at: int | None = None
    follows_damage: bool = False
    precedes_damage: bool = False
    has_leading: bool = False
    places: dict[int, int] = field(default_factory=dict)

    @property
    def needs_own_session(self) -> bool:
        """Whether its frames depend on where decoding began, unless that was here."""
        return self.damaged_at is not None or self.follows_damage or self.precedes_damage

    def is_leading(self, pts: int) -> bool:
        """Whether a frame is displayed before this GOP's keyframe."""
        return self.key_pts is not None and pts < self.key_pts

    def is_suspect(self, pts: int, place: int) -> bool:
        """Whether damage may show in a frame."""
        at = self.damaged_at
        if self.is_leading(pts):
            if self.follows_damage:
                return True
            if self.leading_damaged_at is not None:
                at = self.leading_damaged_at if at is None else min(at, self.leading_damaged_at)
        return at is not None and place >= at


@dataclass(frozen=True, slots=True)
class Shown:
    """A displayed frame and the packet that it came from.

    ``frame`` is None for one that nobody asked for and that was not decoded; it counts all the same.
    """

    frame: VideoFrame | None
    pts: int
    gop: Gop
    place: int
