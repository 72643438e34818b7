mod far_end;
mod setup;
mod world;
