"""Writes torch_file.pth: what torch.save makes of tensors and of a training's rest.

python tests/interop/make_torch_file.py tests/interop/torch_file.pth  # needs torch
"""

import argparse
import sys

import torch

base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
state = torch.nn.Linear(3, 2).state_dict()
state["weight"] = torch.nn.Parameter(torch.full((2, 3), 0.5))
state["bias"] = torch.tensor([1.0, -1.0])
state["turned"] = base.T[1:, 1:]  # a view, neither whole nor in order
state["same"] = base  # of the same storage
state["half"] = torch.tensor([0.5, 2.0], dtype=torch.float16)
state["brain"] = torch.tensor([0.5, 3.0], dtype=torch.bfloat16)
state["count"] = torch.tensor(7)
state["none"] = torch.zeros(0, 3)
state["is_on"] = torch.tensor([True, False])
network = torch.nn.Linear(3, 2)
optimizer = torch.optim.AdamW(network.parameters())
network(torch.ones(1, 3)).sum().backward()
optimizer.step()
content = {
  "model": state,
  "optimizer": optimizer.state_dict(),
  "args": argparse.Namespace(lr=1e-3, device=torch.device("cpu")),
  "epoch": 3,
}
torch.save(content, sys.argv[1])
