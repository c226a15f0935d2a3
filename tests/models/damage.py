"""Files of models with something changed in them."""

import json

from safetensors.torch import load_file, save_file

# What a clone without Git LFS leaves in place of a big file.
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:5033f868\nsize 2571027658\n"


def change_json(path, change):
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def change_tensors(path, change):
    """`change` gets the tensors by name and changes some, or the dictionary."""
    tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
    change(tensors)
    path.unlink()
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"})


def drop(name):
    return lambda tensors: tensors.pop(name)


def replace(name, function):
    return lambda tensors: tensors.update({name: function(tensors[name])})


def poison(value):
    """A tensor whose last number is this."""

    def change(tensor):
        tensor.view(-1)[-1] = value
        return tensor

    return change
