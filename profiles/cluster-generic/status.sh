#!/bin/sh
# What became of the job whose number is $1. No answer is no end: the scheduler may be busy.
case "$(squeue --noheader --states=all --jobs="$1" --format=%T 2>/dev/null)" in
    COMPLETED) echo success ;;
    BOOT_FAIL | CANCELLED | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | PREEMPTED | TIMEOUT)
        echo failed ;;
    *) echo running ;;
esac
