"""Plans for one length of a sequence, carried out at a shorter one."""
