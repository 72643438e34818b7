#!/bin/busybox sh
# The first process of the test machine. Its root is a copy-on-write view of the
# host's file system, so whatever runs there runs here, and nothing changes there.
# Lines that begin with `vmtest:` are for the task that reads the console.

busybox=/bin/busybox

give_up() {
    $busybox echo "vmtest: gives up: $1"
    $busybox poweroff -f
}

$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev

while read -r module; do
    $busybox insmod "/modules/$module.ko" || give_up "module $module does not load"
done </modules/order

$busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host ||
    give_up "the host's file system cannot be mounted"
$busybox mount -t tmpfs -o size=60% changes /changes
$busybox mkdir /changes/upper /changes/work
$busybox mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work overlay /root ||
    give_up "the host's file system cannot be overlaid"
for folder in proc sys dev; do
    $busybox mount --move "/$folder" "/root/$folder"
done
$busybox cp /suites /root/suites
exec $busybox chroot /root /bin/sh /suites
