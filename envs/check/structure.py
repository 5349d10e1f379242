"""What makes an env a goal env at all."""

from typing import Any

import gymnasium as gym

from ..vector import PARTS
from .report import Broken, brief


def goal_boxes(env: Any) -> dict[str, gym.spaces.Box]:
    """The spaces of the three parts.

    Raises:
        Broken: if the env lacks what makes a goal env.
    """

    def refuse(seen: str, mend: str) -> Broken:
        return Broken(
            "not-a-goal-env", f"{seen}, so there are no goals to relabel in hindsight: {mend}"
        )

    if not isinstance(env, gym.Env):
        raise refuse(f"a {type(env).__name__} is not a gymnasium.Env", "make it one")
    space = getattr(env, "observation_space", None)
    if not isinstance(space, gym.spaces.Dict) or any(part not in space.spaces for part in PARTS):
        mend = f"make it a Dict of Boxes with the keys {', '.join(PARTS)}"
        raise refuse(f"the observation space is {brief(space)}", mend)
    boxes: dict[str, gym.spaces.Box] = {}
    for part in PARTS:
        box = space[part]
        if not isinstance(box, gym.spaces.Box):
            raise refuse(f"the space of {part} is {brief(box)}", "make it a Box of numbers")
        boxes[part] = box
    achieved, desired = boxes["achieved_goal"].shape, boxes["desired_goal"].shape
    if achieved != desired:
        seen = f"achieved_goal has shape {achieved} and desired_goal {desired}"
        raise refuse(seen, "give both one shape, for the one takes the other's place")
    if not isinstance(getattr(env, "action_space", None), gym.Space):
        raise refuse("action_space is not a gymnasium.Space", "declare it")
    if find_method(env, "compute_reward") is None:
        mend = "define compute_reward(achieved_goal, desired_goal, info)"
        raise refuse("there is no compute_reward", mend)
    return boxes


def find_method(env: gym.Env, name: str) -> Any:
    """A method of the outermost wrapper that has it, or None."""
    try:
        found = env.get_wrapper_attr(name)
    except AttributeError:
        return None
    return found if callable(found) else None
