// Package kinds is the one list of every fault.
package kinds

import (
	"slices"

	"github.com/livedrill/livedrill/injectors"
	"github.com/livedrill/livedrill/injectors/attack"
	"github.com/livedrill/livedrill/injectors/cache"
	"github.com/livedrill/livedrill/injectors/clock"
	"github.com/livedrill/livedrill/injectors/danmaku"
	"github.com/livedrill/livedrill/injectors/gpu"
	"github.com/livedrill/livedrill/injectors/media"
	"github.com/livedrill/livedrill/injectors/mysql"
	"github.com/livedrill/livedrill/injectors/network"
	"github.com/livedrill/livedrill/injectors/process"
	"github.com/livedrill/livedrill/injectors/queue"
	"github.com/livedrill/livedrill/injectors/redis"
	"github.com/livedrill/livedrill/injectors/resource"
	"github.com/livedrill/livedrill/injectors/tls"
)

// All lists every kind of fault, family by family.
var All = slices.Concat(network.Kinds, process.Kinds, resource.Kinds, gpu.Kinds, media.Kinds, redis.Kinds, mysql.Kinds, queue.Kinds, cache.Kinds, danmaku.Kinds,
	clock.Kinds, tls.Kinds, attack.Kinds)

// Find returns a kind by its name.
func Find(name string) (injectors.Kind, bool) {
	for _, k := range All {
		if k.Name == name {
			return k, true
		}
	}
	return injectors.Kind{}, false
}
