//! The TURN machine: decides, opens no socket, reads no clock.
