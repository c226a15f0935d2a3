"""Raw inputs where they are: in folders of this machine, in archives, in a bucket.

addresses       what an address says, and which archive stands for a folder
places          bytes of files here and elsewhere, asked for again when nobody answers
archive_index   where the members of an archive lie
archives        members of tar and zip archives, in any order
reading         files by address: what the stages use
folders         what lies below an address, and copies of it
"""
