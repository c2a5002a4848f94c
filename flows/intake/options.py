"""What may be set about the inbox: the section `inbox` of params.yaml."""

from pydantic import Field

from flows.workspace import Workspace
from tasks.shared import params
from tasks.shared.subject import Words


class Params(params.Params):
    """How data/inbox/ and its bucket are watched, and what is taken in at most."""

    poll_s: float = Field(default=10, gt=0, le=3600, description="seconds between two looks")
    settle_s: float = Field(
        default=30, ge=0, le=86400, description="seconds for which a drop must not have changed"
    )
    default_class: Words | None = Field(
        default=None, description="class of new subjects that name none; null: they are rejected"
    )
    max_files: int = Field(default=1000, ge=1, le=10_000, description="files in one drop at most")
    max_mb: float = Field(default=2000, gt=0, le=100_000, description="size of one drop at most, MB")
    bucket: str | None = Field(
        default=None,
        pattern=r"^s3://[a-z0-9][a-z0-9.\-]{1,62}(/[A-Za-z0-9_.\-/]*)?$",
        description="s3://bucket/inbox, watched too; keys and endpoint come from the usual AWS settings; null: none",
    )


def read(workspace: Workspace) -> Params:
    """The section as the workspace has it.

    Raises:
        UserError: a value is wrong.
    """
    return params.validate(Params, workspace.section("inbox"), "params.yaml: inbox")
