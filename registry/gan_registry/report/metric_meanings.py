"""What well-known metrics say, in plain words."""

from __future__ import annotations

MEANINGS = {
    "modes_covered": "clusters hit by at least 10 of 10,000 generated samples",
    "high_quality": "share within 4 standard deviations of a cluster's centre",
    "other": "share that belongs to no known group",
    "non_finite": "share with values that are no numbers",
    "acceptance_rate": "share of the generated samples that the correction kept",
    "fid": "distance between the features of generated and of real samples; 0 if alike",
    "kid": "likewise, without the FID's bias where samples are few",
    "inception_score": "how surely generated samples fall into classes, and how evenly",
    "precision": "share of the generated samples that look real",
    "recall": "share of the real samples that the generator could have made",
    "density": "how close generated samples lie to real ones; above 1 where these crowd",
    "coverage": "share of the real samples with a generated one nearby",
    "epsilon_precision": "share of the generated samples with real ones nearby",
    "epsilon_recall": "share of the real samples with generated ones nearby",
    "epsilon_precision_kth": "likewise, with several real ones nearby",
    "epsilon_recall_kth": "likewise, with several generated ones nearby",
    "nearest_precision": "share of the generated samples within the real ones' own distances",
    "nearest_recall": "share of the real samples within the generated ones' own distances",
    "partial_recall": "share of the group's real samples that the generator could have made",
    "reconstruction_error": "how badly a network that saw generated samples redraws real ones",
    "judge_accuracy": "how often a network tells real from generated; 0.5 if it cannot",
}
