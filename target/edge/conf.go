package edge

import (
	"fmt"
	"strings"

	"github.com/livedrill/livedrill/target"
)

// Conf is nginx's configuration. The defences are the lines that differ between the profiles.
func Conf(c target.Config) string {
	var cache strings.Builder
	if c.Defences[target.EdgeCacheLock] {
		cache.WriteString(`
            # One request fills the cache, the others wait for it.
            proxy_cache_lock on;
            proxy_cache_lock_timeout 2s;
            proxy_cache_lock_age 2s;`)
	}
	if c.Defences[target.EdgeServeStale] {
		cache.WriteString(`
            # What is here is better than an error. Not "updating": the first viewer after a quiet spell would get a
            # playlist of long ago.
            proxy_cache_use_stale error timeout http_500 http_502 http_503 http_504;`)
	}
	upstream := fmt.Sprintf("        server %s max_fails=0;\n", c.Peer("origin", target.PortHTTP))
	failover := "            proxy_next_upstream off;\n"
	if c.Defences[target.EdgePeerOrigin] {
		upstream = fmt.Sprintf("        server %s max_fails=2 fail_timeout=2s;\n", c.Peer("origin", target.PortHTTP))
		for _, other := range c.Edges {
			if other != c.Name {
				upstream += fmt.Sprintf("        server %s backup; # the other edge's cache\n", c.Peer(other, target.PortPeer))
			}
		}
		failover = "            proxy_next_upstream error timeout http_502 http_503 http_504;\n" +
			"            proxy_connect_timeout 500ms;\n            proxy_read_timeout 2s;\n"
	}
	return fmt.Sprintf(`# nginx of %[1]s: the caching edge for HLS.
daemon off;
user root;
worker_processes 1;
pid %[2]s/nginx.pid;
error_log stderr warn;
events {
    worker_connections 4096;
}
http {
    log_format edge '$upstream_cache_status $status $body_bytes_sent';
    access_log off;
    client_body_temp_path %[2]s/tmp/body;
    proxy_temp_path %[2]s/tmp/proxy;
    fastcgi_temp_path %[2]s/tmp/fastcgi;
    uwsgi_temp_path %[2]s/tmp/uwsgi;
    scgi_temp_path %[2]s/tmp/scgi;
    keepalive_timeout 30s;
    sendfile on;
    tcp_nopush on;
    proxy_cache_path %[2]s/cache levels=1:2 keys_zone=hls:8m max_size=256m inactive=60s use_temp_path=off;
    upstream origin {
%[3]s        keepalive 16;
    }
    upstream origin_only {
        server %[4]s;
        keepalive 4;
    }
    server {
        listen %[5]s:%[6]d backlog=4096;
        listen %[5]s:%[12]d ssl backlog=4096;
        ssl_certificate %[2]s/edge.pem;
        ssl_certificate_key %[2]s/edge.pem;
        ssl_protocols TLSv1.3;
        location = /health {
            return 200;
        }
        location = /probe {
            root %[2]s/www;
        }
        location ~ (\.flv|^/whep/[^/]+(/[A-Z0-9]+)?)$ {
            proxy_pass http://%[5]s:%[7]d;
            proxy_http_version 1.1;
            proxy_buffering off;
        }
        location /live/ {
            access_log syslog:server=127.0.0.1:%[8]d,nohostname,tag=edge edge;
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache hls;
            proxy_cache_key $uri;
            # The origin's Cache-Control rules: a playlist lives 1 s, a segment 60 s.
            proxy_cache_valid 404 1s;%[9]s
%[10]s        }
    }
    # What the other edge may ask for when it cannot reach the origin. It never asks back.
    server {
        listen %[5]s:%[11]d;
        location /live/ {
            proxy_pass http://origin_only;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache hls;
            proxy_cache_key $uri;
            proxy_cache_use_stale error timeout http_500 http_502 http_503 http_504;
            proxy_connect_timeout 500ms;
        }
    }
}
`, c.Name, c.Dir, upstream, c.Peer("origin", target.PortHTTP), c.Listen, target.PortHTTP, target.PortRelay, logPort,
		cache.String(), failover, target.PortPeer, target.PortHTTPS)
}
