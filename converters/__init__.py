"""Keras to TFLite, with proof: conversion, parity, golden vectors, bundles."""
