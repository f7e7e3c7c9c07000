package stack

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/livedrill/livedrill/target"
	"github.com/livedrill/livedrill/target/disk"
	"github.com/livedrill/livedrill/target/hosts"
	"github.com/livedrill/livedrill/target/mariadb"
	"github.com/livedrill/livedrill/target/ranking"
)

// hold says by what faults can hold a component, and tells the component what goes with that.
func (s *Stack) hold(p place, host *hosts.Host, c *target.Config, component *target.Component, encoders target.Cgroup) {
	switch p.kind {
	case "dns":
		if c.Names = s.names; !s.asked { // no fault of it would be felt
			component.Ports = nil
		}
	case "gateway":
		component.Handles.Tokens = &target.Tokens{Key: s.options.Secrets.Token}
		fallthrough
	case "edge":
		component.Handles.TLS = &target.TLS{Root: s.options.Secrets.Root}
	case "transcode":
		c.Cgroup = encoders
		component.Handles.Encoder = &target.Encoder{Cgroup: encoders, Socket: c.Socket}
		if strings.HasSuffix(c.Encoder, "_nvenc") {
			component.Handles.Encoder.GPU = new(int) // ffmpeg encodes on the first card
		}
	case "redis":
		server := s.redis()
		component.Handles.Redis = &server
	case "ranking":
		component.Handles.Queue = &target.Queue{Redis: s.redis(), Network: s.hosts["redis"].Network(), Stream: ranking.Queue}
	case "mariadb", ReplicaName:
		component.Handles.MySQL = s.mysql(host, c.Dir)
		if c.Primary != "" {
			component.Handles.MySQL.Primary = s.mysql(s.hosts[c.Primary], filepath.Join(hosts.Base, "data", c.Primary))
		}
	}
	if host.Cgroup.Version > 0 {
		component.Handles.Cgroup = &host.Cgroup
	}
}

// mysql is a server of the platform's, which has its files in dir.
func (s *Stack) mysql(host *hosts.Host, dir string) *target.MySQL {
	return &target.MySQL{Addr: net.JoinHostPort(host.Addr, fmt.Sprint(target.PortMariaDB)), User: mariadb.User, Password: s.options.Secrets.Database,
		Database: mariadb.Database, Admin: mariadb.Socket(dir), AdminUser: "root"}
}

// redis is the platform's Redis.
func (s *Stack) redis() target.Redis {
	return target.Redis{Addr: net.JoinHostPort(s.hosts["redis"].Addr, fmt.Sprint(target.PortRedis)), Password: s.options.Secrets.Redis}
}

// store gives a component its disk: one in memory, below one that can be told what to do where that is wanted.
func (s *Stack) store(ctx context.Context, p place, c target.Config, component *target.Component) error {
	component.Handles.Disk = c.Dir
	if slices.Contains(s.options.Drives, p.name) {
		component.Handles.Disk = filepath.Join(hosts.Base, "below", p.name)
	}
	if err := hosts.MakeDisk(component.Handles.Disk); err != nil {
		return err
	}
	if component.Handles.Disk != c.Dir {
		drive := target.Config{Name: "disk-" + p.name, Dir: c.Dir, Below: component.Handles.Disk, Socket: c.Socket + "-disk"}
		process, err := disk.Start(ctx, s.own, drive, s.logOf(drive.Name))
		if err != nil {
			return err
		}
		s.drives = append(s.drives, process)
		component.Handles.Drive = &target.Drive{Dir: drive.Dir, Socket: drive.Socket}
	}
	return nil
}
