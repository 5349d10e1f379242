"""The configuration of a run: frozen dataclasses, filled from YAML and the command line."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from .strict import Least, Range, Text

Fraction = Annotated[float, Range(0.0, 1.0)]
Share = Annotated[float, Range(0.0, 1.0, open_high=True)]
Positive = Annotated[float, Range(0.0, open_low=True)]
NonNegative = Annotated[float, Range(0.0)]
MOST = 10**12
"""Of anything that is counted: far beyond use, and small enough to be reckoned with."""
Count = Annotated[int, Least(0, MOST)]
PositiveCount = Annotated[int, Least(1, MOST)]
Copies = Annotated[int, Least(1, 2**16)]
Workers = Annotated[int, Least(0, 2**10)]
Width = Annotated[int, Least(1, 2**14)]
EnvName = Annotated[
    str, Text(r"[\w.:/-]{1,200}", "a name, or an id of letters, digits and _ . : / - (200 at most)")
]


@dataclass(frozen=True)
class RandomizeConfig:
    """Domain randomisation: how far the objects of an episode may differ from the task's."""

    mass: Share = 0.0
    """Masses are multiplied by a factor drawn from [1 - mass, 1 + mass]."""
    friction: Share = 0.0
    """The same for the friction of objects and table."""
    size: Share = 0.0
    """The same for sizes."""


@dataclass(frozen=True)
class EnvConfig:
    """The task and how many copies of it run at once."""

    task: EnvName = "fetch_reach"
    """Name of the task (the positional argument of `train`), or id of any Gymnasium goal env (`--env`)."""
    goal: Literal["object", "gripper", "joints", "image"] | None = None
    """What a goal is: the object's centroid, the gripper's position, the arm's joint angles and velocities,
    or an image in which the task's own goal is reached. None takes the task's own."""
    encoder: str | None = None
    """What image goals are seen through: the folder of an encoder (`her-robotics encode`), the task of one
    that ships with the project, or end_to_end: the agent learns what they mean (`agent.goal_encoder` cnn)."""
    picture_size: Annotated[int, Range(16, 256)] = 64
    """Width and height of image goals, in pixels, if `env.encoder` is end_to_end; others have their own."""
    goal_images: PositiveCount = 1000
    """Image goals to draw from in training; tests have others."""
    goal_reward: Literal["state", "latent_distance", "latent_sparse"] = "state"
    """What the reward of image goals looks at: the simulator's goals behind the images, minus the distance
    of embeddings, or whether that is within `latent_threshold`."""
    latent_threshold: Positive | None = None
    """Distance of embeddings within which `latent_sparse` rewards 0 and not -1."""
    observation: Literal["state", "image", "asymmetric"] = "state"
    """What is observed: the simulator's state; what a camera sees; or that by the actor alone, and the
    simulator's state and goals by critics, which only training needs (asymmetric actor-critic)."""
    observer: str | None = None
    """What observations as images are seen through, as `encoder` is for goals."""
    frames: Annotated[int, Least(1, 100)] = 2
    """Frames in an observation as image: the embedding of the last, and its changes up to it."""
    reward: Literal["sparse", "dense"] = "sparse"
    """Sparse: 0 within the threshold of the goal, else -1. Dense: minus the distance."""
    num_envs: Copies = 8
    """Simulations stepped at once; each cycle of training plays one episode in each."""
    model: Literal["light", "stock"] = "light"
    """The physics model of our tasks: upstream's, or a lighter one with the same trajectories."""
    num_threads: Workers = 0
    """Physics threads of our tasks; 0 takes every core."""
    bits: Annotated[int, Least(1, 10**4)] | None = None
    """Bits of `bit_flip`. None takes its own 30."""
    workers: Workers = 0
    """Processes that step an env given by `--env`; 0 steps it in the process that trains."""
    max_episode_steps: Annotated[int, Least(1, 10**6)] | None = None
    """Steps in an episode. None takes the task's own."""
    distance_threshold: Positive | None = None
    """What counts as reached, in the goal's unit. None takes the goal's own."""
    ignore_termination: bool = False
    """Whether to step on where an env given by `--env` ends its episode, as at success; else an error."""
    randomize: RandomizeConfig = field(default_factory=RandomizeConfig)


@dataclass(frozen=True)
class ReplayConfig:
    """What is kept, and how goals are relabelled when it is drawn."""

    capacity: PositiveCount = 1_000_000
    """Transitions kept."""
    strategy: Literal["none", "final", "future", "episode", "random", "future_actual"] = "future"
    """Where hindsight goals come from (Andrychowicz et al. 2017, section 4.5)."""
    k: NonNegative = 4.0
    """Hindsight goals per real goal: a share of 1 - 1 / (1 + k) is relabelled."""
    k_end: NonNegative = 0.0
    """What `k` comes to by `k_until`. Hindsight goals are chosen by what came out, so that luck, where it has
    a part, looks like skill: few of them do when much is learnt."""
    k_until: PositiveCount | None = None
    """Transitions stored over which `k` evenly comes to `k_end`. Without it `k` stays."""
    blur: NonNegative = 0.0
    """How far goals are moved at random before rewards are judged by them, in standard deviations of
    the desired goals: rewards then rise over a width and not at an edge, and policies aim well inside."""
    scatter: NonNegative = 0.0
    """How far hindsight goals are moved at random from what was achieved, in the same unit: critics then
    learn what near misses are worth."""
    rings: Annotated[int, Least(1, 100)] = 1
    """Nested goals that a reward is the mean over, the i-th of them i / rings as wide as the env's own:
    policies then aim well inside."""
    rings_after: Count = 0
    """Transitions stored before rings count: until then rewards are the env's own, which tell sooner what
    succeeds at all. Values are learnt anew then."""


@dataclass(frozen=True)
class AgentConfig:
    """The learner."""

    name: Literal["ddpg", "svg", "dqn", "dagger"] = "ddpg"
    """Algorithm, a key of `her_robotics.agents.AGENTS`; DQN is for discrete actions, DAgger learns from
    `train.teacher` alone."""
    goal_encoder: Literal["manual", "cnn"] = "manual"
    """How goals become embeddings, a key of `her_robotics.goals.GOAL_ENCODERS`; cnn is for image goals with
    `env.encoder` end_to_end."""
    relative_goal: bool = True
    """Whether the networks also see the goal relative to the achieved goal."""
    near_scale: Annotated[float, Range(1e-6, 1e6)] | None = None
    """Length, in the observation's own unit, on which the networks see observations and the relative goal
    once more, as asinh(x / near_scale): millimetres count where things all but touch. Without it, not."""
    near_waves: bool = False
    """Whether the networks see sin(x / near_scale) and cos(x / near_scale) of observations too, in which a
    millimetre counts as much wherever x is: how wide a gap is that closes on a moving puck."""
    hidden: tuple[Width, ...] = (256, 256, 256)
    """Widths of the hidden layers of actor and critic."""
    gamma: Share = 0.98
    """Discount."""
    actor_lr: Positive = 1e-3
    """Adam's step size for the actor."""
    critic_lr: Positive = 1e-3
    """Adam's step size for the critics."""
    encoder_lr: Positive = 3e-3
    """Adam's step size for a goal encoder that learns with them."""
    tau: Annotated[float, Range(0.0, 1.0, open_low=True)] = 0.005
    """Share of the way that targets move to the networks at each update."""
    average: Annotated[float, Range(0.0, 1.0, open_low=True)] = 1.0
    """Share of the way that the policy which is tested and kept moves to the actor at each update."""
    action_l2: NonNegative = 0.1
    """Weight of the mean squared action in the actor's loss."""
    clip_target: bool = True
    """Whether targets are clipped to what a return can be: [-1 / (1 - gamma), 0] for our sparse reward."""
    lookahead: Annotated[int, Least(1, 10**6)] = 1
    """Steps over which the return that behaviour got bounds a target from below; 1 does without. It
    needs outcomes that are not luck: where contact is chaotic, as in FetchSlide, it is too hopeful."""
    td_lambda: Share = 0.0
    """λ of TD(λ) targets, over at most `lookahead` steps, in place of that bound; 0 is TD(0)."""
    covariance: Literal["diagonal", "full"] = "diagonal"
    """Which noise of SVG's Gaussian policy is learnt: each action's own, or of all together."""
    policy_sigma: Positive = 0.3
    """Standard deviation with which SVG's policy starts, before actions are squashed."""
    num_critics: Annotated[int, Least(1, 100)] = 1
    """Critics; targets take the minimum over them."""
    critic_norm: Literal["none", "layer"] = "none"
    """Normalisation of the critic's hidden layers."""
    batch_norm: bool = False
    """Batch normalisation in actor and critic as in the DDPG paper; overrules `critic_norm`."""
    actor_every: PositiveCount = 1
    """Critic updates per actor update."""
    actor_after: Count = 0
    """Critic updates before the actor's first: for an actor that starts from a trained one."""
    double_q: bool = False
    """DQN only: whether the critic itself, not its target, says which action targets are to value."""


@dataclass(frozen=True)
class GuideConfig:
    """A small agent that takes turns with the main one in training, and leads it to what moves."""

    name: Literal["none", "mover", "relay"] = "none"
    """Who: a mover, which learns to change the achieved goal and needs no knowledge of the task, or a
    relay, which knows where the gripper is and keeps it at the object: a prior (see the README)."""
    share: Fraction = 0.5
    """Share of the time in which it leads."""
    stretch: Annotated[float, Range(1.0)] = 10.0
    """Mean steps between draws of who leads."""
    sigma: NonNegative = 0.3
    """Standard deviation of the noise on its actions, drawn anew at every step."""
    drift: NonNegative = 0.0
    """Standard deviation of noise on its actions that is kept for a stretch: fingers that
    close stay closed."""
    updates: Count = 10_000
    """Updates after which it learns no more."""
    until: PositiveCount | None = None
    """Env steps after which it leads no more. Without it, to the end."""


@dataclass(frozen=True)
class ExplorationConfig:
    """How behaviour departs from the greedy policy."""

    noise: Literal["gaussian", "ornstein_uhlenbeck"] = "gaussian"
    """Noise added to the greedy action."""
    sigma: NonNegative = 0.2
    """Its standard deviation (for Ornstein-Uhlenbeck, that of each step's increment)."""
    theta: Annotated[float, Range(0.0, 1.0)] = 0.15
    """Pull of the Ornstein-Uhlenbeck process to 0 at each step."""
    epsilon: Fraction = 0.3
    """Share of steps whose action is uniformly random."""
    random_episodes: Count = 8
    """Episodes of uniformly random actions before the policy is used."""
    retry: Fraction = 0.0
    """Share of episodes with the start and the goal of one that failed of late: practice of what is hard."""
    count_bonus: NonNegative = 0.0
    """α of the reward α / √N added for coming to where the achieved goal lay N times relative to the desired
    one; 0 does without (the count-based exploration of Andrychowicz et al. 2017)."""
    count_cell: Positive = 0.01
    """Width of the cells that are counted, in the goal's unit."""
    guide: GuideConfig = field(default_factory=GuideConfig)


@dataclass(frozen=True)
class TrainConfig:
    """How long and how often."""

    steps: PositiveCount = 800
    """Env steps, summed over the envs."""
    updates_per_step: NonNegative = 1.0
    """Updates for each env step."""
    batch_size: Annotated[int, Least(2, 2**20)] = 256
    """Transitions in an update."""
    start_from: str | None = None
    """A policy whose weights the actor starts with: the folder of a run, or the task of one that ships. It is
    tested before the first step, so that it is kept if nothing better is learnt. Critics start afresh."""
    teacher: str | None = None
    """The policy that DAgger distils, which acts on the simulator's state and goals: the folder of a run, or
    the task of one that ships."""
    checkpoint_seconds: NonNegative = 60.0
    """Least time between checkpoints; one is also written at the end."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where networks, updates and a copy of the replay are; auto is cuda where there is a GPU. Networks as
    small as ours gain little by one, and on a CPU the same seed gives the same run."""
    torch_threads: Workers = 0
    """Threads of the updates; 0 leaves the choice to torch."""


@dataclass(frozen=True)
class EvalConfig:
    """Tests of the greedy policy."""

    every: PositiveCount = 400
    """Env steps between tests."""
    episodes: PositiveCount = 100
    """Episodes of each test."""
    num_envs: Copies = 100
    """Simulations that play them at once."""


@dataclass(frozen=True)
class VideoConfig:
    """The film of the trained policy."""

    enabled: bool = True
    """Whether to film at all."""
    episodes: Annotated[int, Range(1, 16)] = 4
    """Episodes shown side by side."""
    size: Annotated[int, Range(64, 1024)] = 320
    """Width and height of each, in pixels."""


@dataclass(frozen=True)
class Config:
    """Everything that decides a run."""

    seed: Annotated[int, Range(0, 2**32 - 1)] = 0
    """Seed of everything random."""
    wandb: Literal["online", "offline", "disabled"] | None = None
    """Weights & Biases: None is online where a key is set up and offline elsewhere; never a prompt."""
    wandb_project: Annotated[
        str, Text(r"[^\x00-\x1f]{0,200}", "a name (200 characters at most)")
    ] = "her_robotics"
    """Project the run is filed under."""
    env: EnvConfig = field(default_factory=EnvConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    exploration: ExplorationConfig = field(default_factory=ExplorationConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
