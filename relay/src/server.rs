//! Composition: bind everything, start the edges, stop on request.
