"""Train the adapter of one format on the frozen CLaMP 3, resumable at any kill."""

from clamp3.job import Job
from clamp3.config import LoraConfig
from clamp3.training.lora import train_adapter

if __name__ == "__main__":
    with Job() as job:
        train_adapter(
            modality=job.text("modality"),
            model=job.path("model"),
            manifests_train=job.paths("train"),
            manifests_validation=job.paths("validation"),
            manifest_guard=job.optional_path("guard"),
            out=job.path("out"),
            metrics=job.path("metrics"),
            history=job.path("json"),
            resume=job.path("resume"),
            settings=job.section("lora", LoraConfig),
            seed=job.value("seed"),
        )
