// The smallest gateway that one would write with fasthttp: every request goes to one backend, with the headers of the hop
// taken away in both directions and the client's address added.
//
//	fasthttp LISTEN BACKEND
package main

import (
	"log"
	"os"

	"github.com/valyala/fasthttp"
)

func main() {
	listen, backend := os.Args[1], os.Args[2]
	client := &fasthttp.HostClient{Addr: backend, MaxConns: 4096, NoDefaultUserAgentHeader: true, DisablePathNormalizing: true}
	server := &fasthttp.Server{
		NoDefaultServerHeader:        true,
		DisablePreParseMultipartForm: true,
		Handler: func(ctx *fasthttp.RequestCtx) {
			request, response := &ctx.Request, &ctx.Response
			request.Header.Del("Connection")
			request.Header.Set("X-Forwarded-For", ctx.RemoteIP().String())
			if err := client.Do(request, response); err != nil {
				ctx.Error("the backend does not answer", fasthttp.StatusBadGateway)
				return
			}
			response.Header.Del("Connection")
		},
	}
	log.Fatal(server.ListenAndServe(listen))
}
