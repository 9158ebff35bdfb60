# ruff: noqa: NPY002, B905
import copy
import json
import os
import pickle

import dnnlib
import legacy
import numpy as np
import torch
from torch_utils import misc, training_stats


def training_loop(
    run_dir, training_set_kwargs, data_loader_kwargs, G_kwargs, D_kwargs, G_opt_kwargs,
    D_opt_kwargs, loss_kwargs, random_seed, num_gpus, rank, batch_size, total_kimg, kimg_per_tick,
    network_snapshot_ticks, batch_gpu=None, d_batch_gpu=None, g_batch_gpu=None, D_reg_interval=4,
    resume_pkl=None, abort_fn=None,
):  # fmt: skip
    pairs = d_batch_gpu is not None
    device = torch.device("cuda", rank) if torch.cuda.is_available() else torch.device("cpu")
    np.random.seed(random_seed * num_gpus + rank)
    torch.manual_seed(random_seed * num_gpus + rank)
    data = dnnlib.util.construct_class_by_name(**training_set_kwargs)
    sampler = misc.InfiniteSampler(dataset=data, rank=rank, num_replicas=num_gpus, seed=random_seed)
    batches = iter(
        torch.utils.data.DataLoader(
            dataset=data, sampler=sampler, batch_size=batch_size // num_gpus, **data_loader_kwargs
        )
    )
    common = {"c_dim": data.label_dim, "img_resolution": data.resolution}
    G = dnnlib.util.construct_class_by_name(**G_kwargs, **common).requires_grad_(False).to(device)
    D = dnnlib.util.construct_class_by_name(**D_kwargs, **common).requires_grad_(False).to(device)
    G_ema = copy.deepcopy(G).eval()
    if num_gpus > 1:
        for tensor in (*G.parameters(), *D.parameters(), *G_ema.parameters()):
            torch.distributed.broadcast(tensor, 0)
    cur_nimg = 0
    if resume_pkl is not None:
        with open(resume_pkl, "rb") as f:
            found = legacy.load_network_pkl(f)
        for name, module in (("G", G), ("D", D), ("G_ema", G_ema)):
            module.load_state_dict(found[name].state_dict())
        cur_nimg = found.get("cur_nimg", 0)
    if pairs:
        loss = dnnlib.util.construct_class_by_name(G=G, D=D, **loss_kwargs)
    else:
        loss = dnnlib.util.construct_class_by_name(
            device=device, G_mapping=G.mapping, G_synthesis=G.synthesis, D=D, **loss_kwargs
        )
    of_d = dnnlib.util.construct_class_by_name(D.parameters(), **D_opt_kwargs)
    of_g = dnnlib.util.construct_class_by_name(G.parameters(), **G_opt_kwargs)
    phases = [("Gmain", G, of_g, 1), ("Dmain", D, of_d, 1), ("Dreg", D, of_d, D_reg_interval)]
    if pairs:
        phases = [("D", D, of_d, 1), ("G", G, of_g, 1)]
    tick, step, begun = 0, 0, cur_nimg
    rounds = d_batch_gpu if pairs else batch_gpu
    while True:
        read = [next(batches) for _ in range(2 if pairs else 1)]
        read = [
            ((x.to(device).float() / 127.5 - 1).split(rounds), c.split(rounds)) for x, c in read
        ]
        for number, (phase, module, optimizer, interval) in enumerate(phases):
            if step % interval:
                continue
            reals, classes = read[number if pairs else 0]
            optimizer.zero_grad(set_to_none=True)
            module.requires_grad_(True)
            for real, c in zip(reals, classes):
                z = torch.randn(len(real), G.z_dim, device=device)
                if pairs:
                    more = {"gamma": 1.0, "gain": num_gpus * rounds / batch_size}
                else:
                    labels = [data.get_label(np.random.randint(len(data))) for _ in real]
                    gen_c = torch.from_numpy(np.stack(labels)).to(device)
                    more = {"gen_c": gen_c, "sync": True, "gain": interval}
                loss.accumulate_gradients(phase=phase, real_img=real, real_c=c, gen_z=z, **more)
            module.requires_grad_(False)
            for p in module.parameters():
                if num_gpus > 1 and p.grad is not None:
                    torch.distributed.all_reduce(p.grad)
            optimizer.step()
        for own, average in zip(G.parameters(), G_ema.parameters()):
            average.lerp_(own, 0.1)
        cur_nimg, step = cur_nimg + batch_size, step + 1
        done = cur_nimg >= total_kimg * 1000
        if not done and tick and cur_nimg < begun + kimg_per_tick * 1000:
            continue
        begun = cur_nimg
        training_stats.report0("Progress/kimg", cur_nimg / 1e3)
        done = done or bool(abort_fn is not None and abort_fn())
        if done or tick % network_snapshot_ticks == 0:
            kept = {
                name: copy.deepcopy(module).eval().cpu()
                for name, module in (("G", G), ("D", D), ("G_ema", G_ema))
            }
            if pairs:
                kept["cur_nimg"] = cur_nimg
            if rank == 0:
                path = os.path.join(run_dir, f"network-snapshot-{cur_nimg:06d}.pkl")
                with open(path, "wb") as f:
                    pickle.dump(kept, f)
        tick += 1
        if done:
            break
    if rank == 0:
        with open(os.path.join(run_dir, "stats.jsonl"), "w") as f:
            f.write(json.dumps(training_stats.SEEN) + "\n")
    training_stats.SEEN.clear()
