"""Files of a user from one form to another, as `clamp3 convert` does it.

    listing   which files there are, and which are passed over
    naming    what each output is called
    ledger    what was written before, so that only the rest is done
    jobs      one file: read, converted, written as a draft
    report    the balance, and the tables of what is not out
    running   all of it together
    forms     which form can be made of which, and how

Every file that is found ends in exactly one of three groups: out, rejected or skipped.
"""

from clamp3.data.file_conversion.forms import TARGETS, convert_bytes, form_of
from clamp3.data.file_conversion.report import Report
from clamp3.data.file_conversion.running import convert_files

__all__ = ["TARGETS", "Report", "convert_bytes", "convert_files", "form_of"]
