"""Metrics of generated samples, chosen by name (`--metrics`, `RUN.eval_metrics`)."""

from __future__ import annotations

BUILTIN: dict[str, str] = {
    "coverage": "gan_registry.metrics.prdc:Coverage",
    "critic": "gan_registry.metrics.critic:Critic",
    "critic_published": "gan_registry.metrics.critic:PublishedCritic",
    "density": "gan_registry.metrics.prdc:Density",
    "epsilon_ball": "gan_registry.metrics.epsilon_ball:EpsilonBall",
    "epsilon_ball_kth": "gan_registry.metrics.epsilon_ball:EpsilonBallKth",
    "epsilon_ball_plain": "gan_registry.metrics.epsilon_ball:EpsilonBallPlain",
    "fid": "gan_registry.metrics.frechet:Fid",
    "group_precision": "gan_registry.metrics.group_prdc:GroupPrecision",
    "inception_score": "gan_registry.metrics.inception_score:InceptionScore",
    "judge": "gan_registry.metrics.judge:Judge",
    "judge_published": "gan_registry.metrics.judge:PublishedJudge",
    "kid": "gan_registry.metrics.kernel:Kid",
    "nearest_balls": "gan_registry.metrics.epsilon_ball:NearestBalls",
    "occurrence": "gan_registry.metrics.occurrence:GroupOccurrence",
    "occurrence_classifier": "gan_registry.metrics.occurrence:ClassifierOccurrence",
    "partial_fid": "gan_registry.metrics.partial_fid:PartialFid",
    "partial_recall": "gan_registry.metrics.group_prdc:PartialRecall",
    "prdc": "gan_registry.metrics.prdc:PRDC",
    "precision": "gan_registry.metrics.prdc:Precision",
    "recall": "gan_registry.metrics.prdc:Recall",
    "reconstruction_error": "gan_registry.metrics.reconstruction:ReconstructionError",
    "reconstruction_error_published": (
        "gan_registry.metrics.reconstruction:PublishedReconstructionError"
    ),
}
