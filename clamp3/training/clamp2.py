"""Training CLaMP 2 from its own manifests."""

from pathlib import Path
from tempfile import TemporaryDirectory

from clamp3.config import Clamp2Config
from clamp3.training.clamp import make_tokenizer, train_clamp_stage


def train_clamp2(
    *,
    settings: Clamp2Config,
    train: Path,
    validation: Path,
    start: Path,
    tokenizer: Path | None = None,
    out: Path,
    metrics: Path,
    resume: Path,
    seed: int,
) -> None:
    """Train on the manifest `train` and save the model to the folder `out`.

    The manifests are as `clamp2_pieces` writes them. A new text tower without `tokenizer` gets one
    trained on all texts of `train`, summaries in every language among them. See `train_clamp_stage`
    on the rest.
    """
    with TemporaryDirectory() as folder:
        if tokenizer is None:
            tokenizer = Path(folder) / "tokenizer"
            make_tokenizer(manifests=[train], out=tokenizer, settings=settings.text, start=start)
        train_clamp_stage(
            stage=settings,
            config=settings,
            manifests_train=[train],
            manifests_validation=[validation],
            start=start,
            tokenizer=tokenizer,
            out=out,
            metrics=metrics,
            resume=resume,
            seed=seed,
            kind="clamp2",
        )
