//! A container, named by the PID of its supervisor.
