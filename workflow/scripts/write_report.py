"""Draw the report from metrics, vectors and texts."""

import json

from clamp3.job import Job
from clamp3.config import ReportConfig
from clamp3.retrieval.report.writing import write_report

if __name__ == "__main__":
    with Job() as job:
        write_report(
            job.path("data"),
            job.path("results"),
            job.path("out"),
            job.section("report", ReportConfig),
            params=json.loads(job.text("params")),
            needed=job.paths("needed"),
        )
