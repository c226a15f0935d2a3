"""The comparison as one row per direction and model, for plots."""

from clamp3.files import write_text
from clamp3.job import Job
from clamp3.retrieval.comparison import read_evaluation, row_name, rows_of

COLUMNS = ("direction", "model", "mrr", "chance_mrr")

if __name__ == "__main__":
    with Job() as job:
        report = read_evaluation(job.path("comparison"))
        lines = ["\t".join(COLUMNS)]
        for row in rows_of(report):
            for key, name in report["names"].items():
                if key in row:
                    figures = (row[key]["mrr"], row["chance"]["mrr"])
                    lines.append("\t".join([row_name(row), name, *(f"{x:.6g}" for x in figures)]))
        write_text(job.path("table"), "\n".join(lines) + "\n")
