"""The C files and the Makefile of deployments; package data."""
