"""A lighter model of a scene, with the same trajectories to the last bit.

Nothing here changes a number that dynamics are computed from. That is a must: from one unit in the last
place of one joint, more than half of contact-rich FetchSlide episodes come apart by more than 1e-6. So the
robot keeps its masses, its joints (the torso creeps, the arm turns the head when it hits it, and the solver
takes the base for free to move) and the base's contact with the floor. What goes is work whose result
is never used:

- tests of geoms that cannot touch in any posture, by the lists below, which ``tests/test_env_light.py``
  checks against the robot's geometry;
- exact tests of wrist against table where their bounding boxes are apart already;
- bodies without mass, shape or joint, and the shapes of the mocap body, which touch nothing;
- the search for independent groups of bodies where the robot is the only one.
"""

import mujoco

ROBOT = "robot0:"
MOCAP = f"{ROBOT}mocap"
IDLE = ("head_camera_link", "gripper_camera_link", "external_camera_body_0")
"""Robot bodies that, with all below them, are frames without mass, geoms and joints."""
CANNOT_MEET = {
    "head_pan_link": (
        *("base_link", "estop_link", "laser_link", "torso_fixed_link"),
        *("shoulder_pan_link", "shoulder_lift_link"),
    ),
    "head_tilt_link": (
        *("base_link", "estop_link", "laser_link", "torso_fixed_link"),
        *("torso_lift_link", "shoulder_pan_link", "shoulder_lift_link"),
    ),
    "shoulder_pan_link": (
        *("base_link", "estop_link", "laser_link", "torso_fixed_link"),
        *("upperarm_roll_link", "elbow_flex_link"),
    ),
    "shoulder_lift_link": (
        *("base_link", "estop_link", "laser_link", "torso_fixed_link"),
        "elbow_flex_link",
    ),
    "upperarm_roll_link": ("base_link", "estop_link", "laser_link", "wrist_flex_link"),
    "elbow_flex_link": (
        *("laser_link", "wrist_flex_link", "wrist_roll_link"),
        *("r_gripper_finger_link", "l_gripper_finger_link"),
    ),
    "forearm_roll_link": ("r_gripper_finger_link", "l_gripper_finger_link"),
    "wrist_flex_link": ("r_gripper_finger_link", "l_gripper_finger_link"),
}
"""Pairs of robot bodies that keep apart at all joint angles, a third of a radian beyond the limits too."""
BEHIND_TABLE = (
    *("base_link", "torso_lift_link", "head_pan_link", "head_tilt_link"),
    *("shoulder_pan_link", "estop_link", "laser_link", "torso_fixed_link"),
)
"""Robot bodies that never pass the table's edge, so that nothing fixed on the table meets them."""
TOUCHES_FLOOR = (
    *("base_link", "forearm_roll_link", "wrist_flex_link", "wrist_roll_link"),
    *("gripper_link", "r_gripper_finger_link", "l_gripper_finger_link"),
)
"""Robot bodies that reach down to the floor, or nearly."""
NEAR_TABLE = ("forearm_roll_link", "wrist_flex_link", "wrist_roll_link", "gripper_link")
"""Bodies of mesh that are mostly near the table and seldom on it."""

SCENE_BIT, ARM_BIT, TRUNK_BIT, FLOOR_BIT, FIRST_ROBOT_BIT = 1, 2, 4, 8, 16


def lighten(spec: mujoco.MjSpec) -> None:
    """Turn a Fetch scene into its lighter model, in place; call it when everything is in the scene.

    Joints, their order and all names that are left stay as they are, so positions and velocities carry
    over. MuJoCo's state rows do not: they hold forces on every body, and there are fewer bodies.

    Args:
        spec: a scene of ``build_spec``, with whatever stands or moves on its table.

    Raises:
        ValueError: if a geom of the scene has a contype or conaffinity other than 0 and 1, as those
            bits are needed here.
    """
    _sort_contacts(spec)
    for name in NEAR_TABLE:
        # With a second geom MuJoCo compares bounding boxes first, which tells most pairs apart.
        spec.body(ROBOT + name).add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE,
            size=[1e-3, 0.0, 0.0],
            rgba=[0.0, 0.0, 0.0, 0.0],
            mass=0.0,
            contype=0,
            conaffinity=0,
        )
    for name in IDLE:
        spec.delete(spec.body(ROBOT + name))
    for geom in list(spec.body(MOCAP).geoms):
        spec.delete(geom)
    if not any(_moves(geom.parent) and not _of_robot(geom) for geom in spec.geoms):
        # One group is solved as it would be without looking for groups; of two this is not so.
        spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_ISLAND)


def _sort_contacts(spec: mujoco.MjSpec) -> None:
    """Let geoms be tested only against those that they can touch.

    A pair is tested if a contype of one shares a bit with the conaffinity of the other. Among itself
    the scene keeps the first bit; robot geoms listen on bits of their own, and others call those.
    """
    touching = [geom for geom in spec.geoms if geom.contype or geom.conaffinity]
    for geom in touching:
        if geom.contype not in (0, SCENE_BIT) or geom.conaffinity not in (0, SCENE_BIT):
            raise ValueError(
                f"geom {geom.name!r} has contype {geom.contype} and conaffinity {geom.conaffinity}; "
                "the lighter model can be made of scenes with 0 and 1 only"
            )
    robot = [geom for geom in touching if _of_robot(geom)]
    names = [geom.parent.name.removeprefix(ROBOT) for geom in robot]
    for geom in touching:
        if _of_robot(geom):
            continue
        if geom.type == mujoco.mjtGeom.mjGEOM_PLANE:
            geom.contype |= FLOOR_BIT
        else:
            geom.contype |= ARM_BIT | (TRUNK_BIT if _moves(geom.parent) else 0)
    for index, (geom, name) in enumerate(zip(robot, names, strict=True)):
        geom.conaffinity = FIRST_ROBOT_BIT << index
        geom.conaffinity |= TRUNK_BIT if name in BEHIND_TABLE else ARM_BIT
        geom.conaffinity |= FLOOR_BIT if name in TOUCHES_FLOOR else 0
        geom.contype = sum(
            FIRST_ROBOT_BIT << other
            for other in range(index + 1, len(robot))
            if not _apart(name, names[other])
        )


def _of_robot(geom: mujoco.MjsGeom) -> bool:
    return geom.parent.name.startswith(ROBOT)


def _moves(body: mujoco.MjsBody) -> bool:
    """Whether a body hangs on any joint."""
    above: mujoco.MjsBody | None = body
    while above is not None:
        if list(above.joints):
            return True
        above = above.parent
    return False


def _apart(one: str, other: str) -> bool:
    return other in CANNOT_MEET.get(one, ()) or one in CANNOT_MEET.get(other, ())
