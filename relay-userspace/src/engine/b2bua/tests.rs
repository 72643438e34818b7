mod changes;
mod emergency;
mod endings;
mod far_end;
mod limits;
mod refusals;
mod setup;
mod world;
