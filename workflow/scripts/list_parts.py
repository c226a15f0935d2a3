"""List the parts of one table with rows and hashes, for those who need all of them."""

from clamp3.job import Job
from clamp3.data.listing import list_parts

if __name__ == "__main__":
    with Job() as job:
        list_parts(job.path("folder"), job.value("shards"), job.path("listing"))
