"""A training in several processes: python -m clamp3.training.launch N SCRIPT [ARGUMENT …].

The processes share each batch, one per GPU where there are GPUs. One that fails ends all, and all
end with whoever started this one (a killed Snakemake leaves nothing behind).
"""

import os
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run

from clamp3.logs import end_with_parent


def launch(arguments: list[str]) -> None:
    """Run `N SCRIPT [ARGUMENT …]`, or `N -m MODULE …`, in N processes of this machine.

    When one of them fails the others are ended, and this one ends with status 1.
    """
    count, *command = arguments
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a training sets its own number
    end_with_parent()
    parser = get_args_parser()
    parser.allow_abbrev = False  # or it takes the script's --log for one of its own
    try:
        run(parser.parse_args(["--standalone", "--nproc_per_node", count, *command]))
    except ChildFailedError:  # has said itself why
        sys.exit(1)


if __name__ == "__main__":
    launch(sys.argv[1:])
