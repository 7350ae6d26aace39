/*
 * explain_names: names for the parser where it is compiled a second time (explain_parse.c): all that its files define, so that
 * both can stand in one file (lib/amalgamate). One that is left out does not compile there.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef FLOWQ_LIB_EXPLAIN_NAMES_H
#define FLOWQ_LIB_EXPLAIN_NAMES_H

/* parse.c */
#define parse_complete_key   explain_parse_complete_key
#define walk_finish          explain_walk_finish
#define walk_finish_portless explain_walk_finish_portless
#define parse_packet_to      explain_parse_packet_to

/* parse_link.c */
#define link_ipv4_holds        explain_link_ipv4_holds
#define link_plausible_next    explain_link_plausible_next
#define link_plausible_address explain_link_plausible_address
#define link_ipv6_holds        explain_link_ipv6_holds
#define link_ip_holds          explain_link_ip_holds
#define link_is_rare_vlan      explain_link_is_rare_vlan
#define link_is_vlan           explain_link_is_vlan
#define link_take_type         explain_link_take_type
#define link_frame_holds       explain_link_frame_holds
#define link_frame_likely      explain_link_frame_likely
#define link_ip_likely         explain_link_ip_likely
#define link_pseudowire        explain_link_pseudowire
#define link_guess_any         explain_link_guess_any
#define link_guess             explain_link_guess
#define link_guess_ip          explain_link_guess_ip
#define link_spread            explain_link_spread
#define link_mpls              explain_link_mpls
#define link_take_ppp_protocol explain_link_take_ppp_protocol
#define link_pppoe             explain_link_pppoe
#define link_ethertype         explain_link_ethertype
#define link_llc               explain_link_llc
#define link_other_type        explain_link_other_type
#define link_ethernet          explain_link_ethernet
#define link_belief            explain_link_belief
#define LINK_NOT_BELIEVED      EXPLAIN_LINK_NOT_BELIEVED
#define LINK_PERHAPS           EXPLAIN_LINK_PERHAPS
#define LINK_BY_LENGTH         EXPLAIN_LINK_BY_LENGTH
#define LINK_BY_CHECKSUM       EXPLAIN_LINK_BY_CHECKSUM
#define PPP_IPV4               EXPLAIN_PPP_IPV4
#define PPP_IPV6               EXPLAIN_PPP_IPV6

/* parse_ip.c */
#define ipv6_extension_kind  explain_ipv6_extension_kind
#define ip_set_frag          explain_ip_set_frag
#define ip_first_fragment    explain_ip_first_fragment
#define ip_key_is_whole      explain_ip_key_is_whole
#define ip_later_fragment    explain_ip_later_fragment
#define ip_tcp               explain_ip_tcp
#define ip_ports_only        explain_ip_ports_only
#define ip_udp               explain_ip_udp
#define ip_is_icmp_error     explain_ip_is_icmp_error
#define ip_find_redirected   explain_ip_find_redirected
#define ip_icmp              explain_ip_icmp
#define ip_other_transport   explain_ip_other_transport
#define ip_transport         explain_ip_transport
#define ipv4_fragment        explain_ipv4_fragment
#define ipv4                 explain_ipv4
#define ipv6_payload         explain_ipv6_payload
#define ipv6_options         explain_ipv6_options
#define ipv6_fragment        explain_ipv6_fragment
#define ipv6_set_destination explain_ipv6_set_destination
#define ipv6_source_route    explain_ipv6_source_route
#define ipv6_home_address    explain_ipv6_home_address
#define ipv6_rpl_route       explain_ipv6_rpl_route
#define ipv6_segment_list    explain_ipv6_segment_list
#define ipv6_routing         explain_ipv6_routing
#define ipv6_extension       explain_ipv6_extension
#define ipv6                 explain_ipv6
#define ip_packet            explain_ip_packet
#define IPV6_NO_EXTENSION    EXPLAIN_IPV6_NO_EXTENSION
#define IPV6_OPTIONS         EXPLAIN_IPV6_OPTIONS
#define IPV6_OTHER_EXTENSION EXPLAIN_IPV6_OTHER_EXTENSION
#define ROUTING_SOURCE       EXPLAIN_ROUTING_SOURCE
#define ROUTING_HOME         EXPLAIN_ROUTING_HOME
#define ROUTING_RPL          EXPLAIN_ROUTING_RPL
#define ROUTING_SEGMENTS     EXPLAIN_ROUTING_SEGMENTS

/* parse_tunnel.c */
#define tunnel_enter                explain_tunnel_enter
#define tunnel_take_vni             explain_tunnel_take_vni
#define tunnel_payload              explain_tunnel_payload
#define tunnel_take_gre             explain_tunnel_take_gre
#define tunnel_gre_kind             explain_tunnel_gre_kind
#define tunnel_take_gre_options     explain_tunnel_take_gre_options
#define tunnel_wccp                 explain_tunnel_wccp
#define tunnel_erspan_2             explain_tunnel_erspan_2
#define tunnel_erspan_3             explain_tunnel_erspan_3
#define tunnel_gre_payload          explain_tunnel_gre_payload
#define tunnel_gre                  explain_tunnel_gre
#define tunnel_gre_in_udp           explain_tunnel_gre_in_udp
#define tunnel_ip_kind              explain_tunnel_ip_kind
#define tunnel_possible             explain_tunnel_possible
#define tunnel_ip                   explain_tunnel_ip
#define tunnel_vxlan                explain_tunnel_vxlan
#define tunnel_vxlan_gpe            explain_tunnel_vxlan_gpe
#define tunnel_geneve               explain_tunnel_geneve
#define tunnel_skip_gtpu_extensions explain_tunnel_skip_gtpu_extensions
#define tunnel_gtpu                 explain_tunnel_gtpu
#define tunnel_has_ports            explain_tunnel_has_ports
#define tunnel_gue_payload          explain_tunnel_gue_payload
#define tunnel_gue                  explain_tunnel_gue
#define tunnel_mpls_in_udp          explain_tunnel_mpls_in_udp
#define tunnel_udp_kind             explain_tunnel_udp_kind
#define tunnel_udp_reader           explain_tunnel_udp_reader
#define tunnel_find_udp             explain_tunnel_find_udp
#define tunnel_udp                  explain_tunnel_udp
#define gre_header                  explain_gre_header
#define GRE_TYPE_WCCP               EXPLAIN_GRE_TYPE_WCCP
#define GRE_TYPE_ERSPAN_2           EXPLAIN_GRE_TYPE_ERSPAN_2
#define GRE_TYPE_ERSPAN_3           EXPLAIN_GRE_TYPE_ERSPAN_3
#define ERSPAN_FRAME_ETHERNET       EXPLAIN_ERSPAN_FRAME_ETHERNET
#define ERSPAN_FRAME_IP             EXPLAIN_ERSPAN_FRAME_IP
#define VXLAN_GPE_IPV4              EXPLAIN_VXLAN_GPE_IPV4
#define VXLAN_GPE_IPV6              EXPLAIN_VXLAN_GPE_IPV6
#define VXLAN_GPE_ETHERNET          EXPLAIN_VXLAN_GPE_ETHERNET
#define tunnel_reader               explain_tunnel_reader

#endif
