"""Generates samples."""

import torch


def sample_zy(
    z_prior, batch_size, z_dim, num_classes, truncation_factor, y_sampler, radius, device
):
    if isinstance(y_sampler, int):
        labels = torch.full((batch_size,), y_sampler)
    elif y_sampler == "totally_random":
        labels = torch.randint(num_classes, (batch_size,))
    else:
        labels = torch.arange(batch_size) % num_classes
    return torch.randn(batch_size, z_dim), labels, None


def stylegan_generate_images(
    zs,
    fake_labels,
    num_classes,
    style_mixing_p,
    update_emas,
    generator_mapping,
    generator_synthesis,
    truncation_psi,
    truncation_cutoff,
):
    one_hot = torch.nn.functional.one_hot(fake_labels, num_classes)
    ws = generator_mapping(zs, one_hot)
    return ws, generator_synthesis(ws)


def generate_images(
    z_prior,
    truncation_factor,
    batch_size,
    z_dim,
    num_classes,
    y_sampler,
    radius,
    generator,
    discriminator,
    is_train,
    LOSS,
    RUN,
    MODEL,
    device,
    is_stylegan,
    generator_mapping,
    generator_synthesis,
    style_mixing_p,
    stylegan_update_emas,
    cal_trsp_cost,
):
    zs, labels, _ = sample_zy(
        z_prior=z_prior,
        batch_size=batch_size,
        z_dim=z_dim,
        num_classes=num_classes,
        truncation_factor=truncation_factor,
        y_sampler=y_sampler,
        radius=radius,
        device=device,
    )
    ws = None
    if is_stylegan:
        ws, images = stylegan_generate_images(
            zs=zs,
            fake_labels=labels,
            num_classes=num_classes,
            style_mixing_p=style_mixing_p,
            update_emas=stylegan_update_emas,
            generator_mapping=generator_mapping,
            generator_synthesis=generator_synthesis,
            truncation_psi=truncation_factor,
            truncation_cutoff=RUN.truncation_cutoff,
        )
    else:
        images = generator(zs, labels, eval=not is_train)
    return images, labels, None, None, ws, None, None
