"""Where a picture comes from, written into it: enough to draw it again, and of who is in it only the kind."""

from typing import Any

from tasks.guards import base


class Guard(base.Guard):
    """The record that `images.provenance` reads back from a PNG."""

    order = 80

    def record(self, picture: base.Picture, context: base.Context) -> dict[str, Any]:
        """Caller's facts (base, method, adapter, sampler) with prompt, seed and kind.

        `digital_source_type` is IPTC's term for generated pictures, the one that C2PA uses too.
        """
        return {
            **context.facts,
            "software": "dreamline",
            "digital_source_type": "trainedAlgorithmicMedia",
            "subject_kind": context.kind,
            "prompt": picture.prompt,
            "seed": picture.seed,
        }
